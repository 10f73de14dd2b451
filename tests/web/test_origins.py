"""Which origins may join a room or change one, and under which names the server is reached."""

import pytest

from sharechat.web.origins import is_allowed, is_host_allowed

FRIEND = "https://friend.example"


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        (None, "chat.example"),
        (None, ""),
        ("http://chat.example", "chat.example"),
        ("https://chat.example", "chat.example"),
        ("https://CHAT.example", "chat.EXAMPLE"),
        ("http://chat.example:8080", "chat.example:8080"),
        ("http://chat.example", "chat.example:80"),
        ("https://chat.example:443", "chat.example"),
        ("http://[::1]:8080", "[::1]:8080"),
        (FRIEND, "chat.example"),
        ("HTTPS://Friend.example", "chat.example"),
    ],
)
def test_the_servers_own_host_and_allowed_origins_are_allowed(
    origin: str | None, host: str
) -> None:
    assert is_allowed(origin, host, {FRIEND})


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("http://evil.example", "chat.example"),
        ("http://friend.example", "chat.example"),  # another scheme
        ("https://friend.example:8443", "chat.example"),
        ("https://friend.example.evil", "chat.example"),
        # These only end like one that is allowed, or like the server's own.
        ("https://evilfriend.example", "chat.example"),
        ("https://evil.friend.example", "chat.example"),
        ("xhttps://friend.example", "chat.example"),
        ("http://evilchat.example", "chat.example"),
        ("http://evil.chat.example", "chat.example"),
        ("http://chat.example", "evil.chat.example"),
        ("https://evil.example/https://friend.example", "chat.example"),
        ("http://chat.example:8080", "chat.example:8081"),
        ("https://chat.example", "chat.example:80"),
        ("http://chat.example.evil", "chat.example"),
        ("null", "chat.example"),
        ("", "chat.example"),
        ("", ""),
        ("file://", "chat.example"),
        ("file://", ""),
        ("http://", ""),
        ("http://chat.example:port", "chat.example:port"),
        ("http://[", "["),
        ("chat.example", "chat.example"),
        ("ftp://chat.example", "chat.example"),
    ],
)
def test_any_other_origin_is_not_allowed(origin: str, host: str) -> None:
    assert not is_allowed(origin, host, {FRIEND})


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "", "%%%", None])
def test_a_star_allows_every_origin(origin: str | None) -> None:
    assert is_allowed(origin, "chat.example", {"*"})


LOOPBACK = "127.0.0.1"
NAMES = {"chat.example"}


@pytest.mark.parametrize("local", [LOOPBACK, "127.1.2.3", "::1", "::ffff:127.0.0.1"])
def test_on_loopback_only_names_of_this_machine_are_allowed(local: str) -> None:
    for host in ("localhost", "LOCALHOST.:8080", "a.localhost", "127.0.0.1:80", "[::1]:80", ""):
        assert is_host_allowed(host, local, ())
    for host in ("evil.example", "evil.example:8080", "localhost.evil.example", "evillocalhost"):
        assert not is_host_allowed(host, local, ())
    for host in ("127.0.0.1.evil.example", "[", "@localhost.evil.example", "2130706433"):
        assert not is_host_allowed(host, local, ())


@pytest.mark.parametrize("local", ["192.0.2.1", "2001:db8::1", "", "/run/sharechat.sock"])
def test_elsewhere_every_name_is_allowed_unless_names_are_given(local: str) -> None:
    for host in ("chat.example", "other.example:8080"):
        assert is_host_allowed(host, local, ())
    assert is_host_allowed("Chat.Example:443", local, NAMES)
    assert is_host_allowed("chat.example.", local, NAMES)
    assert is_host_allowed("192.0.2.1:8080", local, NAMES)
    assert not is_host_allowed("other.example", local, NAMES)
    assert is_host_allowed("other.example", local, {"*"})


def test_a_name_that_is_given_is_allowed_on_loopback() -> None:
    assert is_host_allowed("chat.example", LOOPBACK, NAMES)
    assert is_host_allowed("localhost:8080", LOOPBACK, NAMES)
    assert not is_host_allowed("evil.example", LOOPBACK, NAMES)
    assert is_host_allowed("evil.example", LOOPBACK, {"*"})
