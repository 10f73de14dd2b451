"""Which origins may open a websocket."""

import pytest

from sharechat.web.origins import is_allowed

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
