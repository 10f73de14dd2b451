"""The real sources: fresh ids, random names, and the time of day."""

import re
import uuid
from datetime import UTC, datetime, timedelta

from sharechat.domain.sources import Sources


def test_ids_are_unique_uuids() -> None:
    sources = Sources()
    makers = (sources.room_id, sources.member_id, sources.message_id, sources.process_id)
    ids = [make() for make in makers for _ in range(10)]
    assert len(set(ids)) == len(ids)
    assert all(str(uuid.UUID(id_)) == id_ for id_ in ids)


def test_names_are_two_words() -> None:
    sources = Sources()
    for name in (sources.room_name(), sources.member_name()):
        assert re.fullmatch(r"[A-Z][a-z]+ [A-Z][a-z]+", name)


def test_the_time_of_day_is_in_utc() -> None:
    now = Sources().now()
    assert now.utcoffset() == timedelta(0)
    assert abs(datetime.now(UTC) - now) < timedelta(minutes=1)
