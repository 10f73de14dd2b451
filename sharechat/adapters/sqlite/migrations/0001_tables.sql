-- The rooms, their logs and their members. Times are microseconds since 1970, ids the 16 bytes
-- of a UUID. The leases of processes are not stored: only one process uses the file at a time.

-- AUTOINCREMENT: a `rid` is never used again, so the messages of a removed room, which are
-- deleted later, cannot be taken for those of a new one.
--
-- A room's head and the time of its last entry are those of its last message. If its row had them,
-- each append would change a page of this table besides that of the message. `active_at` is null
-- until somebody joins, and then at most a minute behind the last entry.
CREATE TABLE rooms (
    rid INTEGER PRIMARY KEY AUTOINCREMENT,
    id BLOB NOT NULL UNIQUE,
    name TEXT NOT NULL,
    key_hash BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    active_at INTEGER
);

-- Without a CHECK on `type`, since SQLite cannot change it later.
CREATE TABLE messages (
    rid INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    id BLOB NOT NULL,
    member_id BLOB NOT NULL,
    member_name TEXT NOT NULL,
    type TEXT NOT NULL,
    text TEXT NOT NULL,
    sent INTEGER NOT NULL,
    PRIMARY KEY (rid, seq)
) WITHOUT ROWID;

-- Ids grow with time, so an index that begins with the id grows at its end only.
CREATE UNIQUE INDEX messages_by_id ON messages (id, rid);

-- The members that follow from the `joined` and `left` entries of the logs. The column
-- `joined` is the seq of the member's `joined` entry.
CREATE TABLE members (
    rid INTEGER NOT NULL,
    id BLOB NOT NULL,
    name TEXT NOT NULL,
    process_id BLOB NOT NULL,
    joined INTEGER NOT NULL,
    PRIMARY KEY (rid, id)
) WITHOUT ROWID;

CREATE INDEX members_by_process ON members (process_id);

-- Removed rooms whose messages have not been deleted yet. Nobody can read those messages.
CREATE TABLE removed_rooms (rid INTEGER PRIMARY KEY);
