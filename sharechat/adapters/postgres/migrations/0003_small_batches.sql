-- One statement for a whole batch takes its time before it stores anything: as long as it takes to
-- look up and store several drafts one after the other. Most batches are as small.

ALTER FUNCTION append(uuid, uuid[], uuid[], uuid[], text[], text[], text[]) RENAME TO append_many;

-- Its contract is that of `append_many`, which it calls for large batches. That one calls `append`
-- for the parts into which it divides a batch.
CREATE FUNCTION append(
    process uuid, room_ids uuid[], ids uuid[], member_ids uuid[], member_names text[],
    types text[], texts text[]
) RETURNS TABLE (
    outcome text, seq bigint, sent timestamptz,
    old_member_id uuid, old_member_name text, old_type text, old_text text
) LANGUAGE plpgsql
-- Otherwise the lock on several rooms is planned anew each time, which takes longer than to run it.
SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
DECLARE
    stamp timestamptz;
    room uuid;
    member uuid;
BEGIN
    IF cardinality(ids) > 8 THEN
        RETURN QUERY SELECT * FROM append_many(
            process, room_ids, ids, member_ids, member_names, types, texts
        );
        RETURN;
    END IF;
    IF cardinality(ids) > 1 THEN
        -- Locking in the order of the ids prevents deadlocks.
        PERFORM FROM rooms r WHERE r.id = ANY (room_ids) ORDER BY r.id FOR NO KEY UPDATE;
    END IF;
    stamp := clock_timestamp();
    FOR place IN 1..cardinality(ids) LOOP
        room := room_ids[place];
        member := member_ids[place];
        old_member_id := NULL;
        old_member_name := NULL;
        old_type := NULL;
        old_text := NULL;
        SELECT r.head + 1, greatest(r.last_sent, stamp) INTO seq, sent
        FROM rooms r WHERE r.id = room FOR NO KEY UPDATE;
        IF NOT FOUND THEN
            outcome := 'room';
            RETURN NEXT;
            CONTINUE;
        END IF;
        -- IS NOT DISTINCT FROM forces a look-up by id, here and below: see `append_many`.
        INSERT INTO messages (room_id, seq, id, member_id, member_name, type, text, sent)
        SELECT room, seq, ids[place], member, member_names[place], types[place], texts[place], sent
        WHERE CASE types[place]
            WHEN 'joined' THEN EXISTS (SELECT FROM processes p WHERE p.id = process AND NOT p.dead)
            ELSE EXISTS (
                SELECT FROM members m WHERE m.id = member AND m.room_id IS NOT DISTINCT FROM room
            ) END
        ON CONFLICT (id, room_id) DO NOTHING;
        IF FOUND THEN
            outcome := 'new';
            UPDATE rooms r SET head = seq, last_sent = sent WHERE r.id = room;
            IF types[place] = 'joined' THEN
                INSERT INTO members (room_id, id, name, process_id, joined)
                VALUES (room, member, member_names[place], process, seq)
                ON CONFLICT (room_id, id) DO UPDATE SET
                    name = excluded.name, process_id = excluded.process_id,
                    joined = excluded.joined;
            ELSIF types[place] = 'left' THEN
                DELETE FROM members m WHERE m.id = member AND m.room_id IS NOT DISTINCT FROM room;
            END IF;
        ELSE
            SELECT o.seq, o.sent, o.member_id, o.member_name, o.type, o.text
            INTO seq, sent, old_member_id, old_member_name, old_type, old_text
            FROM messages o
            WHERE o.id = ids[place] AND o.room_id IS NOT DISTINCT FROM room;
            IF FOUND THEN
                outcome := 'stored';
            ELSE
                outcome := CASE types[place] WHEN 'joined' THEN 'lease' ELSE 'member' END;
            END IF;
        END IF;
        RETURN NEXT;
    END LOOP;
END $$;
