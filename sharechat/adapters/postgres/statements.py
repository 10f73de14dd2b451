"""The SQL that the Repository sends. The functions that it calls are in `migrations`."""

# Sent once on each new connection.
# - statement_timeout: longer than any caller waits, so it only ends abandoned statements.
# - enable_seqscan: every statement below looks up a few rows of large tables. A plan that was
#   made while the tables were small must not scan them once they are large.
# - default_transaction_isolation: after waiting for a lock, a function must see what was
#   committed meanwhile, whatever the database's default is.
# - synchronous_commit: a message is acknowledged once it is durable, and not before.
CONFIGURE_SESSION = """
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

GET_ROOMS = "SELECT id, name, head FROM rooms WHERE id = ANY (%s::uuid[])"

# Returns no row if there is no such room; otherwise whether it was removed, and whether
# the key was right.
DELETE_ROOM = """
WITH gone AS (
    DELETE FROM rooms WHERE id = %(id)s AND key_hash = %(key_hash)s RETURNING id
), rest AS (
    INSERT INTO removed_rooms (id) SELECT id FROM gone
)
SELECT EXISTS (SELECT FROM gone), key_hash = %(key_hash)s FROM rooms WHERE id = %(id)s
"""

REMOVE_STALE_ROOMS = "SELECT remove_stale_rooms(%s, %s)"

# A room without an entry has neither members nor messages. Locking a row checks its newest
# version again, so a room that is being joined meanwhile stays.
REMOVE_UNJOINED_ROOMS = """
DELETE FROM rooms WHERE id = ANY (ARRAY(
    SELECT id FROM rooms
    WHERE head = 0 AND created_at <= clock_timestamp() - %s::float8 * interval '1 second'
    LIMIT %s FOR UPDATE SKIP LOCKED
)) RETURNING id
"""

SWEEP = "SELECT sweep(%s)"

# Returns one row of nulls for a room without members, and no row if there is no such room.
# READ and FIND do the same.
GET_MEMBERS = """
SELECT m.id, m.name FROM rooms r LEFT JOIN members m ON m.room_id = r.id
WHERE r.id = %s ORDER BY m.joined
"""

# Numbered parameters, because TrioConnection.fetch_prepared runs it.
APPEND = b"""
SELECT * FROM append(
    $1::uuid, $2::uuid[], $3::uuid[], $4::uuid[], $5::text[], $6::text[], $7::text[]
)
"""

# A log has no gaps, so a page is a range of `seq`. With both bounds given, no plan reads more
# than that range. The LIMIT only prevents the planner from joining in another order.
#
# The page ends before its JSON could exceed `max_bytes`: all of a message but its texts takes
# less than 230 bytes, and a byte of text six at most. How long a text is in JSON is not looked
# at, because that takes up to a millisecond for each message, while the length of the text is
# known even without decompressing it.
READ = """
SELECT m.seq, m.id, m.member_id, m.member_name, m.type, m.text, m.sent
FROM rooms r LEFT JOIN LATERAL (
    SELECT * FROM (
        SELECT *, sum(230 + 6 * (octet_length(member_name) + octet_length(text)))
            OVER (ORDER BY seq) AS most_bytes
        FROM messages WHERE room_id = r.id
            AND seq > %(after)s::bigint AND seq <= %(after)s::bigint + %(limit)s::bigint
    ) page
    WHERE most_bytes <= %(max_bytes)s::bigint OR seq = %(after)s::bigint + 1
    LIMIT %(limit)s::bigint
) m ON true
WHERE r.id = %(id)s ORDER BY m.seq
"""

# IS NOT DISTINCT FROM and LIMIT force a look-up by id instead of a scan of the room's
# messages: see the function `append`.
FIND = """
SELECT m.seq FROM rooms r LEFT JOIN LATERAL (
    SELECT seq FROM messages WHERE id = %s AND room_id IS NOT DISTINCT FROM r.id LIMIT 1
) m ON true
WHERE r.id = %s
"""

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

# A process without a row is inserted as dead, so that it can never open a lease. Returns no
# row if the process has renewed meanwhile. Also deletes old rows: see the table `processes`.
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

# The second column makes the statement fail if the tables are missing.
CHECK = "SELECT current_setting('transaction_read_only') = 'on', EXISTS (SELECT FROM rooms)"

# Together they sort two megabytes in a temporary file, which no privilege is needed for, and
# of which nothing is left.
LIMIT_MEMORY = "SET LOCAL work_mem = '64kB'"

SORT_ON_DISK = """
SELECT count(*) FROM (
    SELECT repeat('x', 1000) || n FROM generate_series(1, 2000) n ORDER BY 1 OFFSET 0
) sorted
"""
