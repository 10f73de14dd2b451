"""What becomes of the texts that clients send."""

from collections import Counter
from collections.abc import Iterator, Sequence
from math import inf

from sharechat.actors.journal import BROKEN
from sharechat.actors.policy import Policy
from sharechat.actors.submission import AWAY
from sharechat.domain.messages import Message, MessageType
from tests.simulation.faults import STALLS, Fault
from tests.simulation.state import ClientState
from tests.simulation.truth import POISON
from tests.simulation.world import World

_REST = 4.0
"""Seconds within which the last texts of a client that has gone are stored."""


def said_is_answered(
    world: World, connection: ClientState, log: Sequence[Message]
) -> Iterator[str]:
    """What a client said was stored once and in order, or it was told that it was not."""
    said = [
        m.text for m in log if m.type is MessageType.CHAT and m.member_id == connection.member_id
    ]
    for text, times in Counter(said).items():
        if times > 1:
            yield f"{connection}: {text!r} was stored {times} times"
    # What is said again may have been stored over an earlier connection.
    stored = {m.text for m in log} if connection.author.chooses_ids else said
    failed = {world.said[m.id] for _, m in connection.heard if m.type is MessageType.FAILED}
    # What it never said is a violation of its own.
    kept = [text for text in said if text not in failed and text in connection.consumed]
    # If the client read everything, it knows which of its messages failed. A message that failed
    # may still have been stored later.
    known = connection.gone_at is None and not connection.dawdled
    if connection.latency and connection.closed_at is not None:
        known = False  # What waited on the way to it was dropped.
    if known and kept != sorted(kept, key=connection.consumed.index):
        yield f"{connection}: its messages were reordered: {kept}"
    if not known:
        return
    answered = connection.settled
    if connection.closed_at is not None:
        # A failure that had just come may still have waited in a buffer. The last one may have
        # waited for longer: until the client has heard its own `joined`.
        before = sum(at < connection.closed_at for at in connection.settled_at)
        answered = min(before, connection.settled - 1)
    for text in connection.consumed[: max(0, answered)]:
        if text not in failed and text not in stored:
            yield f"{connection}: {text!r} was lost, and the client was not told"


def failures_are_for_a_reason(world: World, connection: ClientState) -> Iterator[str]:
    """A client is told that a text failed only if there was a reason for that."""
    for at, message in connection.heard:
        if message.type is not MessageType.FAILED:
            continue
        text = world.said[message.id]
        if connection.dawdled:  # It may read of a failure any time later.
            failed_at = (
                g.settled_at for g in connection.given if g.draft.id == message.id and g.failed
            )
            at = min(failed_at, default=at)
        began = at - Policy.store_timeout - 20
        faults = world.faults
        number = connection.process.number
        if text in world.malformed:
            justified = world.malformed[text] in message.text
        elif message.text == AWAY:
            justified = faults.between(began, at, STALLS, number)
        elif message.text == BROKEN:
            justified = POISON in text or faults.between(began, at, {Fault.ERRORS}, number)
        else:
            lost_lease = connection.process.lost_lease_at is not None
            justified = "\0" in text or lost_lease or connection.room_id in world.dead_rooms
        if not justified:
            yield f"{connection}: {text!r} failed for no reason: {message.text}"


def last_words_are_stored(world: World, connection: ClientState) -> Iterator[str]:
    """What a client said before it went is stored if nothing is in the way."""
    noticed = connection.noticed_at
    if noticed is None or connection.accepted_at is None or connection.aborted or connection.lossy:
        return
    if connection.close is not None or (connection.closed_at or noticed) < noticed:
        return
    # A text that it was told had failed is not stored later, and each may take some seconds.
    begins = max(noticed, connection.accepted_at)
    since, until = begins - Policy.store_timeout - 1, begins + _REST
    removed_at = world.dead_rooms.get(connection.room_id, until)
    process = connection.process
    calm = process.calm_from(since, until - since) <= max(since, process.up_at or 0)
    if not calm or removed_at < until:
        return
    of_anyone = connection.author.chooses_ids
    # Later it may be stored because its author has said it again.
    commits = (c for c in world.truth.log[connection.room_id] if c.at <= until)
    messages = [c.entry.message for c in commits]
    stored = {m.text for m in messages if of_anyone or m.member_id == connection.member_id}
    answered = sum(at < since for at in connection.settled_at)
    for _, text, _ in connection.sent[answered:]:
        flawed = "\0" in text or POISON in text or text in world.malformed
        if not flawed and text not in stored:
            yield f"{connection}: {text!r} was lost when the client went"


def given_is_stored(world: World, connection: ClientState, log: Sequence[Message]) -> Iterator[str]:
    """What is on its way to the log when its author's connection ends is stored, however late."""
    process = connection.process
    ends = (connection.noticed_at, connection.closed_at)
    ended_at = min((at for at in ends if at is not None), default=inf)
    if connection.member_id is None or not connection.given:
        return
    given = connection.given[-1]
    draft = given.draft
    # Whoever stores its `left` has stored it before.
    lives_on = world.truth.left_through.get(connection.member_id) == process.number
    under_way = given.at <= ended_at < given.settled_at
    if not under_way or not lives_on or process.lost_lease_at is not None:
        return
    flawed = "\0" in draft.text or POISON in draft.text or draft.room_id in world.dead_rooms
    errors = world.faults.between(given.at, inf, {Fault.ERRORS}, process.number)
    if not (flawed or errors) and draft.id not in {m.id for m in log}:
        yield f"{connection}: {draft.text!r} was on its way when the connection ended, and was lost"


def rate_is_kept(connection: ClientState, policy: Policy) -> Iterator[str]:
    """The server takes up the texts of a client no faster than the rate allows."""
    end = connection.noticed_at or float("inf")
    times = [at for at in connection.consumed_at if at < end]
    for first, since in enumerate(times):
        for last in range(first, len(times)):
            # The last one has been taken up, but waits until it may be stored.
            allowed = policy.message_burst + policy.message_rate * (times[last] - since) + 1
            if last - first + 1 > allowed + 0.001:
                yield f"{connection} said {last - first + 1} texts from {since:.3f} on"
                return
