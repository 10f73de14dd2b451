"""All SQL that the Repository sends, but for the functions in `migrations`."""

# The server gives up a statement when its caller has long done so. What a function reads
# after a lock must be what is there by then, whatever the database's default is. All that is
# sent from here looks up a few rows of large tables: a plan that was made while they were
# small must not read them whole.
SESSION = """
SELECT set_config('TimeZone', 'UTC', false),
    set_config('statement_timeout', '5s', false),
    set_config('enable_seqscan', 'off', false),
    set_config('jit', 'off', false),
    set_config('default_transaction_isolation', 'read committed', false),
    CASE current_setting('synchronous_commit') WHEN 'off'
        THEN set_config('synchronous_commit', 'on', false) END
"""

CREATE_ROOM = """
INSERT INTO rooms (id, name, key_hash) VALUES (%s, %s, %s) ON CONFLICT (id) DO NOTHING
RETURNING id
"""

GET_ROOM = "SELECT name, head FROM rooms WHERE id = %s"

# Whether there was such a room, and if so whether this was its key.
DELETE_ROOM = """
WITH gone AS (
    DELETE FROM rooms WHERE id = %(id)s AND key_hash = %(key_hash)s RETURNING id
), rest AS (
    INSERT INTO removed_rooms (id) SELECT id FROM gone
)
SELECT EXISTS (SELECT FROM gone), key_hash = %(key_hash)s FROM rooms WHERE id = %(id)s
"""

REMOVE_STALE_ROOMS = "SELECT remove_stale_rooms(%s, %s)"

SWEEP = "SELECT sweep(%s)"

# One row of nulls for a room without members, none where there is no room; so, too, below.
GET_MEMBERS = """
SELECT m.id, m.name FROM rooms r LEFT JOIN members m ON m.room_id = r.id
WHERE r.id = %s ORDER BY m.joined
"""

# For TrioConnection.fetch_prepared.
APPEND = b"""
SELECT * FROM append(
    $1::uuid, $2::uuid[], $3::uuid[], $4::uuid[], $5::text[], $6::text[], $7::text[]
)
"""

# A log has no gaps, so a page is a range: with both ends given, no plan reads more of it. The
# LIMIT only keeps the planner from joining in some other order.
READ = """
SELECT m.seq, m.id, m.member_id, m.member_name, m.type, m.text, m.sent
FROM rooms r LEFT JOIN LATERAL (
    SELECT * FROM messages WHERE room_id = r.id
        AND seq > %(after)s::bigint AND seq <= %(after)s::bigint + %(limit)s::bigint
    LIMIT %(limit)s::bigint
) m ON true
WHERE r.id = %(id)s ORDER BY m.seq
"""

# A look-up by id, and never through all that the room has: see the function `append`.
FIND = """
SELECT m.seq FROM rooms r LEFT JOIN LATERAL (
    SELECT seq FROM messages WHERE id = %s AND room_id IS NOT DISTINCT FROM r.id LIMIT 1
) m ON true
WHERE r.id = %s
"""

GET_HEADS = "SELECT id, head FROM rooms WHERE id = ANY (%s::uuid[])"

OPEN_LEASE = "INSERT INTO processes (id) VALUES (%s) ON CONFLICT (id) DO NOTHING RETURNING id"

RENEW_LEASE = """
WITH mine AS (
    UPDATE processes SET renewal = renewal + 1 WHERE id = %(id)s AND NOT dead
    RETURNING id, renewal
)
SELECT id, renewal FROM mine
UNION ALL
SELECT p.id, p.renewal FROM processes p
WHERE NOT p.dead AND p.id <> %(id)s AND EXISTS (SELECT FROM mine)
"""

# A process that nobody has heard of is made known as dead, so that it stays so. Returns no
# row if it has renewed meanwhile.
END_LEASE = """
WITH forgotten AS (
    DELETE FROM processes p WHERE p.dead AND p.id <> %(id)s
        AND p.died_at < now() - interval '1 day'
        AND NOT EXISTS (SELECT FROM members m WHERE m.process_id = p.id)
)
INSERT INTO processes AS p (id, dead, died_at) VALUES (%(id)s, true, now())
ON CONFLICT (id) DO UPDATE SET dead = true, died_at = coalesce(p.died_at, now())
WHERE p.dead OR %(renewal)s::bigint IS NULL OR p.renewal = %(renewal)s::bigint
RETURNING p.id
"""

GET_ORPHANS = """
SELECT m.room_id, m.id, m.name FROM processes p JOIN members m ON m.process_id = p.id
WHERE p.dead LIMIT 1000
"""

GET_MEMBERS_OF = "SELECT room_id, id, name FROM members WHERE process_id = %s"

# The second column is there to fail where the tables are missing.
CHECK = "SELECT current_setting('transaction_read_only') = 'on', EXISTS (SELECT FROM rooms)"
