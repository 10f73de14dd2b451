"""Deliberate faults in the actors, the connections and the adapter of Redis.

They are applied one at a time, and the simulation must find each. They patch private methods: each
removes one precaution of the protocol. Beside each stands the kind of histories in which it is
found soonest, and if that takes more than a second, the number of the first one that finds it.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import NamedTuple

from tests.simulation import (
    breaks_of_connections,
    breaks_of_members,
    breaks_of_processes,
    breaks_of_redis,
    breaks_of_rooms,
    breaks_of_talk,
)


class Break(NamedTuple):
    """One way to break the protocol."""

    apply: Callable[[], AbstractContextManager[object]]
    focus: str
    """The kind of histories, in `focus.py`, that depends on what is broken."""
    first: int = 0
    """From which history on the test searches: those before it would find nothing. They may do
    so after a change; then the search goes on for longer."""

    @property
    def name(self) -> str:
        return self.apply.__name__.replace("_", "-")

    @property
    def description(self) -> str:
        return (self.apply.__doc__ or "").strip()


_ALL = (
    Break(breaks_of_rooms.gap_repair, "bus"),
    Break(breaks_of_rooms.dedupe, "bus"),
    Break(breaks_of_rooms.late_welcome, "bus"),
    Break(breaks_of_rooms.waiting_joins, "gaps", first=219),
    Break(breaks_of_rooms.dropped_entries, "gaps"),
    Break(breaks_of_rooms.expectation, "bus"),
    Break(breaks_of_rooms.room_linger, "clients"),
    Break(breaks_of_rooms.successor, "lingering", first=95),
    Break(breaks_of_rooms.unsubscribe, "clients"),
    Break(breaks_of_rooms.silent_deletion, "clients", first=11),
    Break(breaks_of_rooms.regular_look, "bus"),
    Break(breaks_of_rooms.unwell_look, "bus"),
    Break(breaks_of_rooms.lost_suspects, "outages"),
    Break(breaks_of_members.last_words, "clients"),
    Break(breaks_of_members.one_page, "resuming", first=23),
    Break(breaks_of_members.short_page, "resuming", first=61),
    Break(breaks_of_members.join_position, "resuming"),
    Break(breaks_of_members.early_failure, "gaps", first=11),
    Break(breaks_of_members.message_rate, "clients"),
    Break(breaks_of_members.missing_left, "repository"),
    Break(breaks_of_members.kept_deadline, "repository", first=40),
    Break(breaks_of_members.left_overtakes, "gaps"),
    Break(breaks_of_members.left_dropped, "clients"),
    Break(breaks_of_talk.chosen_id, "repeats"),
    Break(breaks_of_talk.capital_id, "repeats"),
    Break(breaks_of_talk.repeated_text, "repeats"),
    Break(breaks_of_talk.id_of_another, "repeats"),
    Break(breaks_of_talk.id_in_same_batch, "repeats", first=22),
    Break(breaks_of_talk.absent_author, "repeats"),
    Break(breaks_of_talk.silent_repeat, "repeats"),
    Break(breaks_of_talk.public_repeat, "repeats"),
    Break(breaks_of_talk.early_repeat, "repeats", first=12),
    Break(breaks_of_talk.hasty_repeat, "repeats"),
    Break(breaks_of_talk.room_position, "repeats"),
    Break(breaks_of_talk.place_ahead, "repeats"),
    Break(breaks_of_talk.failed_id, "repository"),
    Break(breaks_of_talk.greeting, "repeats"),
    Break(breaks_of_talk.departed_client, "departures"),
    Break(breaks_of_talk.malformed_frame, "repeats"),
    Break(breaks_of_processes.publish_before_commit, "repository"),
    Break(breaks_of_processes.retry, "repository"),
    Break(breaks_of_processes.lost_batch, "repository"),
    Break(breaks_of_processes.halving, "clients", first=40),
    Break(breaks_of_processes.store_timeout, "repository"),
    Break(breaks_of_processes.lease_patience, "leases", first=16),
    Break(breaks_of_processes.unseen_lease, "leases"),
    Break(breaks_of_processes.renewal_number, "leases", first=35),
    Break(breaks_of_processes.lost_lease, "leases", first=108),
    Break(breaks_of_processes.reconciliation, "repository", first=16),
    Break(breaks_of_processes.presence_first, "gaps", first=17),
    Break(breaks_of_processes.room_ttl, "clients"),
    Break(breaks_of_processes.supervision, "repository", first=10),
    Break(breaks_of_connections.cut_frame, "sockets"),
    Break(breaks_of_connections.lost_rest, "sockets"),
    Break(breaks_of_connections.doubled_rest, "sockets"),
    Break(breaks_of_connections.overtaking_write, "sockets"),
    Break(breaks_of_connections.backlog_count, "sockets"),
    Break(breaks_of_connections.impatient_drain, "sockets", first=82),
    Break(breaks_of_connections.stolen_progress, "sockets", first=82),
    Break(breaks_of_connections.endless_silence, "sockets"),
    Break(breaks_of_connections.no_pings, "sockets", first=23),
    Break(breaks_of_connections.overtaking_close, "sockets"),
    Break(breaks_of_connections.unanswered_close, "sockets"),
    Break(breaks_of_connections.hasty_answer, "endings", first=98),
    Break(breaks_of_connections.close_code, "sockets"),
    Break(breaks_of_connections.hasty_close, "sockets"),
    Break(breaks_of_connections.lost_end, "sockets"),
    Break(breaks_of_connections.failed_ping, "clients", first=23),
    Break(breaks_of_redis.send_buffer_size, "publishing"),
    Break(breaks_of_redis.lost_connection, "publishing", first=24),
    Break(breaks_of_redis.dropped_publications, "publishing", first=45),
    Break(breaks_of_redis.dropped_in_outage, "redis", first=23),
    Break(breaks_of_redis.early_confirmation, "publishing", first=47),
    Break(breaks_of_redis.any_token, "publishing", first=82),
    Break(breaks_of_redis.no_probe, "redis"),
    Break(breaks_of_redis.silent_subscription, "redis"),
    Break(breaks_of_redis.stale_unsubscribe, "subscribing", first=34),
    Break(breaks_of_redis.forgotten_subscriptions, "redis"),
    Break(breaks_of_redis.swallowed_look, "redis", first=13),
)

BREAKS: Mapping[str, Break] = {broken.name: broken for broken in _ALL}
