-- The source of truth: the rooms, their logs, their members, and the processes that the
-- members joined through.

-- `fillfactor` leaves half of each page free, so that an append can update its room's row
-- without touching the index (HOT). For the same reason `head` and `last_sent` have no index.
CREATE TABLE rooms (
    id uuid PRIMARY KEY,
    name text NOT NULL,
    key_hash bytea NOT NULL,
    head bigint NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    last_sent timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (fillfactor = 50);

-- No foreign key to `rooms`. Only `append` inserts rows, and it holds a lock on the room's row,
-- so checking each row again would be wasted; and a cascade over millions of messages would
-- make a DELETE of a room slow. Messages are deleted in batches instead: see `removed_rooms`.
CREATE TABLE messages (
    room_id uuid NOT NULL,
    seq bigint NOT NULL,
    id uuid NOT NULL,
    member_id uuid NOT NULL,
    member_name text NOT NULL,
    type text NOT NULL CHECK (type IN ('chat', 'joined', 'left')),
    text text NOT NULL,
    sent timestamptz NOT NULL,
    PRIMARY KEY (room_id, seq),
    -- Ids grow with time, so an index that begins with the id grows at its end only.
    UNIQUE (id, room_id)
);

-- The members that follow from the `joined` and `left` entries of the logs. The column
-- `joined` is the seq of the member's `joined` entry.
CREATE TABLE members (
    room_id uuid NOT NULL REFERENCES rooms ON DELETE CASCADE,
    id uuid NOT NULL,
    name text NOT NULL,
    process_id uuid NOT NULL,
    joined bigint NOT NULL,
    PRIMARY KEY (id, room_id)
);

CREATE INDEX members_in_order ON members (room_id, joined);
CREATE INDEX members_by_process ON members (process_id);

-- A dead process keeps its row for at least a day. So if one of its `joined` entries is stored
-- late, the member is found to be an orphan; and the process cannot open its lease again.
CREATE TABLE processes (
    id uuid PRIMARY KEY,
    renewal bigint NOT NULL DEFAULT 0,
    dead boolean NOT NULL DEFAULT false,
    died_at timestamptz
);

-- Removed rooms whose messages have not been deleted yet. Nobody can read those messages.
CREATE TABLE removed_rooms (id uuid PRIMARY KEY);
