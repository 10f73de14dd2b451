"""Addresses of rooms in every form in which people copy them."""

import re

import pytest

from sharechat.client.addresses import RoomAddress, Server

ID = "412a96da-ab75-4cb1-bd62-e7f494ae08db"
OTHER = "01a209ce-f695-75d0-bf41-29e68cb37e98"


@pytest.mark.parametrize(
    ("text", "page"),
    [
        (f"https://chat.example/room/{ID}", f"https://chat.example/room/{ID}"),
        (f"https://chat.example/room/{ID}/", f"https://chat.example/room/{ID}"),
        (f"https://chat.example/api/room/{ID}", f"https://chat.example/room/{ID}"),
        (f"https://chat.example/api/room/{ID}/messages", f"https://chat.example/room/{ID}"),
        (f"wss://chat.example/api/serve/{ID}", f"https://chat.example/room/{ID}"),
        (f"ws://chat.example/api/serve/{ID}", f"http://chat.example/room/{ID}"),
        (f"wss://chat.example/api/serve/{ID}?after={OTHER}", f"https://chat.example/room/{ID}"),
        (f"https://chat.example/room/{ID}?x=/room/{OTHER}", f"https://chat.example/room/{ID}"),
        (f"https://chat.example/room/{ID}#{OTHER}", f"https://chat.example/room/{ID}"),
        (f"chat.example/{ID}", f"https://chat.example/room/{ID}"),
        (f"chat.example:8443/{ID}", f"https://chat.example:8443/room/{ID}"),
        (f"chat.example/room/{ID}", f"https://chat.example/room/{ID}"),
        (f"localhost:8080/{ID}", f"http://localhost:8080/room/{ID}"),
        (f"one.localhost/{ID}", f"http://one.localhost/room/{ID}"),
        (f"127.0.0.1:8080/{ID}", f"http://127.0.0.1:8080/room/{ID}"),
        (f"192.0.2.1:8080/{ID}", f"https://192.0.2.1:8080/room/{ID}"),
        (f"[::1]:8080/{ID}", f"http://[::1]:8080/room/{ID}"),
        (f"http://[2001:db8::1]/room/{ID}", f"http://[2001:db8::1]/room/{ID}"),
        (
            f"https://chat.example/some/where/room/{ID}",
            f"https://chat.example/some/where/room/{ID}",
        ),
        (f"https://chat.example/chat/api/serve/{ID}", f"https://chat.example/chat/room/{ID}"),
        (f"chat.example/chat/{ID}", f"https://chat.example/chat/room/{ID}"),
        (f"https://name:secret@chat.example/room/{ID}", f"https://chat.example/room/{ID}"),
        (f"HTTPS://chat.example/room/{ID.upper()}", f"https://chat.example/room/{ID}"),
        (f"  https://chat.example/room/{ID}\n", f"https://chat.example/room/{ID}"),
    ],
)
def test_a_room_is_found_in_every_form_of_its_address(text: str, page: str) -> None:
    address = RoomAddress.parse(text)
    assert address.page == str(address) == page
    assert RoomAddress.parse(address.api) == RoomAddress.parse(address.websocket) == address


def test_an_address_leads_to_the_servers_paths() -> None:
    address = RoomAddress.parse(f"https://chat.example:8443/chat/room/{ID}")
    assert address.api == f"https://chat.example:8443/chat/api/room/{ID}"
    assert address.websocket == f"wss://chat.example:8443/chat/api/serve/{ID}"
    assert address.websocket_target(OTHER) == f"/chat/api/serve/{ID}?after={OTHER}"
    assert (address.server.host, address.server.port) == ("chat.example", 8443)


@pytest.mark.parametrize(
    ("text", "host", "port", "secure"),
    [
        ("https://chat.example", "chat.example", 443, True),
        ("http://chat.example/", "chat.example", 80, False),
        ("CHAT.example", "chat.example", 443, True),
        ("localhost:8080", "localhost", 8080, False),
        ("[::1]:8080", "::1", 8080, False),
        ("ws://[2001:db8::1]", "2001:db8::1", 80, False),
    ],
)
def test_a_server_is_where_its_address_leads(text: str, host: str, port: int, secure: bool) -> None:
    server = Server.parse(text)
    assert (server.host, server.port, server.secure) == (host, port, secure)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "The address has no host."),
        ("https://", "The address has no host."),
        (f"/room/{ID}", "The address has no host."),
        ("hello", "The address has no room's id."),
        ("https://chat.example/room/x", "The address has no room's id."),
        (f"https://chat.example/room/{ID[:-1]}", "The address has no room's id."),
        (f"https://chat.example/?id={ID}", "The address has no room's id."),
        (f"ftp://chat.example/room/{ID}", "ftp:// is not http://, https://, ws:// or wss://."),
        (f"https://chat.example:x/room/{ID}", "The address has no valid host or port."),
        (f"https://chat.example:99999/room/{ID}", "The address has no valid host or port."),
        (f"https://[::1/room/{ID}", "The address has no valid host or port."),
        (f"https://[hello]/room/{ID}", "The address has no valid host or port."),
    ],
)
def test_what_is_no_address_is_refused_with_a_sentence(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(reason)}$"):
        RoomAddress.parse(text)
