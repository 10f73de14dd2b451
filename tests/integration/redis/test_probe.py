"""The probe of a RedisQueue, without any I/O."""

from sharechat.adapters.redis.probe import Probe
from sharechat.domain.ids import new_room_id
from tests.integration.redis.test_subscriptions import channel_of, make_subscriptions


def test_a_round_ends_when_its_own_token_has_arrived_and_with_no_other() -> None:
    probe = Probe()
    probe.receive(b"a stranger's")
    probe.receive(Probe().token)
    assert not probe.returned.is_set()
    probe.receive(probe.token)
    assert probe.returned.is_set()


def test_a_round_does_not_end_before_every_command_up_to_the_probe_is_answered() -> None:
    """One of the answers may be that a publication was refused."""
    probe = Probe()
    probe.start_round(3)
    probe.receive(probe.token)
    probe.answer(2)
    assert not probe.returned.is_set()
    probe.answer(1)
    assert probe.returned.is_set()
    probe.start_round(4)
    probe.answer(1)
    assert not probe.returned.is_set()
    probe.receive(probe.token)
    assert probe.returned.is_set()


def test_a_token_of_an_earlier_round_no_longer_counts() -> None:
    probe = Probe()
    earlier = probe.token
    probe.start_round(0)
    probe.receive(earlier)
    assert not probe.returned.is_set()


def test_only_the_probes_own_channel_carries_tokens() -> None:
    subscriptions, unwanted = make_subscriptions(), new_room_id()
    channels = (b"probe", b"probe of another", channel_of(unwanted))
    messages = [[b"message", channel, b"token"] for channel in channels]
    assert subscriptions.receive(messages).probe_tokens == [b"token"]
