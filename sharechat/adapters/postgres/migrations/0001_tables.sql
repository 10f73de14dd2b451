-- The source of truth: rooms, their logs, and who is in them through which process.

-- Half of each page is left free, so that an append rewrites its room's row in place (HOT)
-- instead of in the index too; for the same reason `head` and `last_sent` have no index.
CREATE TABLE rooms (
    id uuid PRIMARY KEY,
    name text NOT NULL,
    key_hash bytea NOT NULL,
    head bigint NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    last_sent timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (fillfactor = 50);

-- No foreign key to rooms: rows come only from `append`, which holds the room's row locked,
-- so a check a row would tell nothing new; and a cascade over millions of messages would
-- keep whoever deletes a room waiting. They go in portions: see `removed_rooms`.
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
    -- Ids grow with time, so by id first it grows at one end, like the log itself.
    UNIQUE (id, room_id)
);

-- What the `joined` and `left` of the logs add up to; `joined` is the seq of the former.
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

-- A dead process keeps its row for a day: a `joined` of its that was still under way ends
-- as an orphan, and the process cannot come back to life.
CREATE TABLE processes (
    id uuid PRIMARY KEY,
    renewal bigint NOT NULL DEFAULT 0,
    dead boolean NOT NULL DEFAULT false,
    died_at timestamptz
);

-- Rooms that are gone but for messages, which nobody can see any more.
CREATE TABLE removed_rooms (id uuid PRIMARY KEY);
