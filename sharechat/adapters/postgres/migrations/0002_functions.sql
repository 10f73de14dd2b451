-- Decisions that need a lock. Each statement of a VOLATILE function sees what was committed
-- before that statement began (PostgreSQL manual, "Function Volatility Categories"). So a
-- statement after a lock sees the changes of every transaction that the lock waited for.

-- Stores drafts, given as arrays of equal length. Returns one row for each draft, in their
-- order. `outcome` is 'new', with the entry's `seq` and `sent`; or 'stored' if the draft was
-- stored before, with all of the entry; or why the draft was refused: 'room', 'lease' or
-- 'member'.
CREATE FUNCTION append(
    process uuid, room_ids uuid[], ids uuid[], member_ids uuid[], member_names text[],
    types text[], texts text[]
) RETURNS TABLE (
    outcome text, seq bigint, sent timestamptz,
    old_member_id uuid, old_member_name text, old_type text, old_text text
) LANGUAGE plpgsql
-- A plan that was made while the tables were small must still be good when they are large.
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off
SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
DECLARE
    locked uuid[];
    lives boolean := true;
    stamp timestamptz;
    start integer := 1;
    place integer;
    earlier integer;
BEGIN
    -- Locking in the order of the ids prevents deadlocks. Below, only these rooms count as
    -- existing: a room that was created since is not locked.
    locked := ARRAY(
        SELECT r.id FROM rooms r WHERE r.id = ANY (room_ids) ORDER BY r.id FOR NO KEY UPDATE
    );
    -- If the call has an id twice, what becomes of the second draft depends on whether the first
    -- was stored. So the call is divided before the second.
    IF cardinality(ids) > 1 THEN
        FOR place, earlier IN
            SELECT d.place, d.earlier
            FROM (
                SELECT d.place, lag(d.place) OVER (PARTITION BY d.room_id, d.id ORDER BY d.place)
                    AS earlier
                FROM unnest(room_ids, ids) WITH ORDINALITY AS d (room_id, id, place)
            ) d WHERE d.earlier IS NOT NULL ORDER BY d.place
        LOOP
            IF earlier >= start THEN
                RETURN QUERY SELECT * FROM append(
                    process, room_ids[start:place - 1], ids[start:place - 1],
                    member_ids[start:place - 1], member_names[start:place - 1],
                    types[start:place - 1], texts[start:place - 1]
                );
                start := place;
            END IF;
        END LOOP;
        IF start > 1 THEN
            RETURN QUERY SELECT * FROM append(
                process, room_ids[start:], ids[start:], member_ids[start:],
                member_names[start:], types[start:], texts[start:]
            );
            RETURN;
        END IF;
    END IF;
    stamp := clock_timestamp();
    IF 'joined' = ANY (types) THEN
        lives := EXISTS (SELECT FROM processes p WHERE p.id = process AND NOT p.dead);
    END IF;
    RETURN QUERY
    WITH draft AS MATERIALIZED (
        SELECT d.*, r.id IS NOT NULL AS has_room, r.head, greatest(r.last_sent, stamp) AS sent,
            old.seq AS old_seq, old.sent AS old_sent, old.member_id AS old_member_id,
            old.member_name AS old_member_name, old.type AS old_type, old.text AS old_text,
            m.id IS NOT NULL AS was_member,
            -- True if this draft adds its author to the members, false if it removes its
            -- author, null if it does neither.
            CASE WHEN old.seq IS NULL AND (d.type = 'left' OR d.type = 'joined' AND lives)
                THEN d.type = 'joined' END AS joins
        FROM unnest(room_ids, ids, member_ids, member_names, types, texts) WITH ORDINALITY
            AS d (room_id, id, member_id, member_name, type, text, place)
        -- LATERAL and LIMIT make the planner look up each row by id, even if its statistics
        -- show empty tables. With "=" instead of IS NOT DISTINCT FROM, it might use the index
        -- by room and scan all rows of the room.
        LEFT JOIN LATERAL (
            SELECT * FROM rooms r WHERE r.id = d.room_id LIMIT 1
        ) r ON d.room_id = ANY (locked)
        LEFT JOIN LATERAL (
            SELECT * FROM messages o
            WHERE o.id = d.id AND o.room_id IS NOT DISTINCT FROM d.room_id LIMIT 1
        ) old ON r.id IS NOT NULL
        LEFT JOIN LATERAL (
            SELECT * FROM members o
            WHERE o.id = d.member_id AND o.room_id IS NOT DISTINCT FROM d.room_id LIMIT 1
        ) m ON r.id IS NOT NULL
    ), judged AS MATERIALIZED (
        SELECT d.*, CASE
            WHEN NOT has_room THEN 'room'
            WHEN old_seq IS NOT NULL THEN 'stored'
            WHEN type = 'joined' THEN CASE WHEN lives THEN 'new' ELSE 'lease' END
            -- The author is a member if the author's last change before this draft was to
            -- join. max() finds that change: place decides, and the lowest bit holds `joins`.
            WHEN coalesce(max(place * 2 + joins::int) OVER (
                    PARTITION BY room_id, member_id ORDER BY place
                    ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
                ) % 2 = 1, was_member) THEN 'new'
            ELSE 'member' END AS outcome
        FROM draft d
    ), placed AS MATERIALIZED (
        SELECT j.*, j.outcome = 'new' AS is_new,
            CASE WHEN j.outcome = 'new' THEN j.head + count(*) FILTER (WHERE j.outcome = 'new')
                OVER (PARTITION BY j.room_id ORDER BY j.place) ELSE j.old_seq END AS seq
        FROM judged j
    ), inserted AS (
        INSERT INTO messages (room_id, seq, id, member_id, member_name, type, text, sent)
        SELECT p.room_id, p.seq, p.id, p.member_id, p.member_name, p.type, p.text, p.sent
        FROM placed p WHERE p.is_new
    ), moved AS (
        UPDATE rooms r SET head = p.head, last_sent = p.sent
        FROM (
            SELECT p.room_id, max(p.seq) AS head, max(p.sent) AS sent
            FROM placed p WHERE p.is_new GROUP BY p.room_id
        ) p WHERE r.id = p.room_id
    ), final AS MATERIALIZED (
        SELECT DISTINCT ON (p.room_id, p.member_id) p.*
        FROM placed p WHERE p.is_new AND p.joins IS NOT NULL
        ORDER BY p.room_id, p.member_id, p.place DESC
    ), come AS (
        INSERT INTO members AS m (room_id, id, name, process_id, joined)
        SELECT f.room_id, f.member_id, f.member_name, process, f.seq FROM final f WHERE f.joins
        ON CONFLICT (room_id, id) DO UPDATE SET
            name = excluded.name, process_id = excluded.process_id, joined = excluded.joined
    ), gone AS (
        DELETE FROM members m USING final f
        WHERE NOT f.joins AND m.id = f.member_id AND m.room_id IS NOT DISTINCT FROM f.room_id
    )
    SELECT p.outcome, p.seq, coalesce(p.old_sent, p.sent),
        p.old_member_id, p.old_member_name, p.old_type, p.old_text
    FROM placed p ORDER BY p.place;
END $$;

-- Removes up to `most` rooms that have no members and have had no entry for `age` seconds.
-- Returns their ids.
CREATE FUNCTION remove_stale_rooms(age double precision, most integer) RETURNS SETOF uuid
LANGUAGE plpgsql
-- This function has to scan all rooms.
SET enable_seqscan = on
AS $$
DECLARE
    line timestamptz := clock_timestamp() - age * interval '1 second';
    candidates uuid[];
BEGIN
    -- SKIP LOCKED: a room whose row is locked is in use, so it is not stale.
    candidates := ARRAY(
        SELECT r.id FROM rooms r
        WHERE greatest(r.created_at, r.last_sent) <= line
            AND NOT EXISTS (SELECT FROM members m WHERE m.room_id = r.id)
        LIMIT most FOR UPDATE SKIP LOCKED
    );
    -- A lock checks the newest version of its row, but members are rows of another table: one may
    -- have joined between that statement's snapshot and its lock.
    RETURN QUERY
    WITH gone AS (
        DELETE FROM rooms r
        WHERE r.id = ANY (candidates)
            AND NOT EXISTS (SELECT FROM members m WHERE m.room_id = r.id)
        RETURNING r.id
    )
    INSERT INTO removed_rooms (id) SELECT gone.id FROM gone RETURNING removed_rooms.id;
END $$;

-- Deletes up to `most` messages of one removed room. Returns false if there was no such room.
CREATE FUNCTION sweep(most integer) RETURNS boolean
LANGUAGE plpgsql
-- The first messages must come from the index, which is ordered, and not from a sort of all.
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off
AS $$
DECLARE
    room uuid;
    swept integer;
BEGIN
    SELECT r.id INTO room FROM removed_rooms r ORDER BY r.id LIMIT 1 FOR UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    DELETE FROM messages m WHERE m.room_id = room AND m.seq <= (
        SELECT max(s.seq) FROM (
            SELECT o.seq FROM messages o WHERE o.room_id = room ORDER BY o.seq LIMIT most
        ) s
    );
    GET DIAGNOSTICS swept = ROW_COUNT;
    IF swept < most THEN
        DELETE FROM removed_rooms r WHERE r.id = room;
    END IF;
    RETURN true;
END $$;
