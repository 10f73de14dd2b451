"""How the page is served: its routes, headers, caching and compression."""

import gzip
import re
from typing import Any

import pytest
import trio
from quart import Response

from sharechat.bootstrap import build
from sharechat.config import Settings
from sharechat.domain.ids import RoomId
from sharechat.web.pages import Site
from tests.harness.http import fetch
from tests.harness.plain_asgi import hypercorn
from tests.harness.qr import drawn

ROOM = RoomId("5a9759fb-a35b-4311-885b-c90a8fddb8fa")

DOCUMENTS = [
    "/",
    f"/room/{ROOM}",
    f"/room/{ROOM.upper()}",
    f"/room/{ROOM}/",
    "/manifest.webmanifest",
]
"""What is served under an address that stays."""

SITE = Site.from_package()
FILES = [f"/static/{SITE.hash}/{name}" for name in sorted(SITE.static)]

EVERYTHING = [
    *DOCUMENTS,
    *FILES,
    "/favicon.ico",
    f"/room/{ROOM}/qr.svg",
    "/room/x",
    "/static/0/x.js",
]


async def ask(
    path: str, method: str = "GET", headers: dict[str, str] | None = None, **settings: Any
) -> tuple[Response, bytes]:
    client = build(Settings(in_memory=True, **settings)).app.test_client()
    send = client.post if method == "POST" else client.get
    response = await send(path, headers=headers)
    return response, await response.get_data(as_text=False)


@pytest.mark.parametrize("path", [*DOCUMENTS, *FILES, "/favicon.ico"])
async def test_a_file_is_sent_compressed_to_those_who_accept_it(path: str) -> None:
    plain, body = await ask(path)
    zipped, data = await ask(path, headers={"Accept-Encoding": "br, gzip"})
    assert plain.status_code == zipped.status_code == 200
    assert gzip.decompress(data) == body
    assert b"{base}" not in body
    assert "Content-Encoding" not in plain.headers
    assert zipped.headers["Content-Encoding"] == "gzip"
    assert plain.headers["Vary"] == zipped.headers["Vary"] == "Accept-Encoding"
    assert plain.headers["ETag"] != zipped.headers["ETag"]
    assert plain.headers["Content-Type"] == zipped.headers["Content-Type"]


@pytest.mark.parametrize("accepted", ["", "identity", "gzip;q=0", "br", ";;q=,", "gzip;q=x"])
async def test_a_file_is_sent_as_it_is_to_those_who_do_not(accepted: str) -> None:
    response, body = await ask("/", headers={"Accept-Encoding": accepted})
    assert "Content-Encoding" not in response.headers
    assert body.startswith(b"<!doctype html>")


@pytest.mark.parametrize("encoding", ["identity", "gzip"])
@pytest.mark.parametrize("path", [*DOCUMENTS, FILES[0]])
async def test_what_a_browser_has_is_not_sent_again(path: str, encoding: str) -> None:
    headers = {"Accept-Encoding": encoding}
    etag = (await ask(path, headers=headers))[0].headers["ETag"]
    # A proxy that compresses makes it weak.
    for condition in (etag, f"W/{etag}", f'"other", {etag}', "*"):
        response, body = await ask(path, headers=headers | {"If-None-Match": condition})
        assert (response.status_code, body) == (304, b"")
        assert response.headers["ETag"] == etag
        assert not {"Content-Type", "Content-Length", "Content-Encoding"} & {*response.headers}
        assert response.headers["Vary"] == "Accept-Encoding"
    response, body = await ask(path, headers=headers | {"If-None-Match": '"other"'})
    assert response.status_code == 200
    assert body


async def test_documents_are_asked_for_each_time_and_files_never_again() -> None:
    for path in (*DOCUMENTS, "/favicon.ico"):
        assert (await ask(path))[0].headers["Cache-Control"] == "no-cache"
    for path in FILES:
        cached = (await ask(path))[0].headers["Cache-Control"]
        assert cached == "public, max-age=31536000, immutable"


@pytest.mark.parametrize("path", EVERYTHING)
async def test_every_answer_has_the_headers_that_protect_people(path: str) -> None:
    response, _ = await ask(path)
    policy = dict(
        directive.split(" ", 1)
        for directive in response.headers["Content-Security-Policy"].split("; ")
    )
    assert policy.pop("default-src") == "'none'"
    assert policy.pop("img-src") == "'self' data:"
    for directive in ("base-uri", "form-action", "frame-ancestors"):
        assert policy.pop(directive) == "'none'"
    assert set(policy) == {"script-src", "style-src", "connect-src", "manifest-src"}
    assert set(policy.values()) == {"'self'"}
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Referrer-Policy"] == "no-referrer"
    assert response.headers["Cross-Origin-Opener-Policy"] == "same-origin"


async def test_head_is_answered_like_get_without_a_body() -> None:
    async with hypercorn() as url:
        for path in EVERYTHING:
            got = await trio.to_thread.run_sync(fetch, f"{url}{path}")
            head = await trio.to_thread.run_sync(fetch, f"{url}{path}", "HEAD")
            for answer in (got, head):
                del answer.headers["Date"], answer.headers["X-Request-Id"]
            assert (head.status, head.headers.items()) == (got.status, got.headers.items())
            assert got.body
            assert not head.body


@pytest.mark.parametrize("path", ["/", f"/room/{ROOM}", "/manifest.webmanifest"])
async def test_whatever_a_document_names_is_there(path: str) -> None:
    _, body = await ask(path)
    named = re.findall(r'(?:href|src)"?[=:] ?"([^"]+)"', body.decode())
    assert named
    for url in named:
        response, _ = await ask(url)
        assert response.status_code == 200, url


async def test_every_module_that_is_imported_is_there() -> None:
    modules = {name: (await ask(f"/static/{SITE.hash}/{name}"))[1] for name in SITE.static}
    named = re.compile(rb"""^(?:import|export|\}).* from ["']\./([^"']+)""", re.MULTILINE)
    for name, source in modules.items():
        for imported in named.findall(source):
            assert imported.decode() in modules, name


async def test_types_and_other_files_for_development_are_not_served() -> None:
    assert {name.rpartition(".")[2] for name in SITE.static} <= {"css", "js", "svg"}
    response, _ = await ask(f"/static/{SITE.hash}/types.d.ts")
    assert response.status_code == 404


def test_any_change_of_a_file_changes_the_address_of_all() -> None:
    one = Site({"a.js": b"1", "b.js": b"2"})
    assert Site({"b.js": b"2", "a.js": b"1"}).hash == one.hash
    for other in ({"a.js": b"1", "b.js": b"3"}, {"a.js": b"1", "c.js": b"2"}, {"a.js": b"1"}):
        assert Site(other).hash != one.hash


async def test_a_document_of_another_version_gets_the_files_of_this_one() -> None:
    """A deployment replaces one server after the other, and any of them may be asked."""
    response, body = await ask("/static/0123456789abcdef/style.css")
    assert body == (await ask(f"/static/{SITE.hash}/style.css"))[1]
    assert response.headers["Cache-Control"] == "no-cache"


@pytest.mark.parametrize(
    "path",
    [
        f"/static/{SITE.hash}/none.js",
        f"/static/{SITE.hash}/home.html",
        f"/static/{SITE.hash}/..%2fpages.py",
        f"/static/{SITE.hash}/%2e%2e/pages.py",
        "/static/",
    ],
)
async def test_another_name_is_not_found(path: str) -> None:
    response, _ = await ask(path)
    assert response.status_code == 404
    assert "immutable" not in response.headers.get("Cache-Control", "")


@pytest.mark.parametrize(
    "id_", ["x", ROOM[:-1], f"{ROOM}0", "%3Cscript%3E", "%00", "%FF", "a" * 4000]
)
async def test_an_id_that_no_room_can_have_is_answered_in_words(id_: str) -> None:
    response, body = await ask(f"/room/{id_}")
    assert response.status_code == 404
    assert response.headers["Content-Type"] == "text/html; charset=utf-8"
    assert body == (await ask(f"/room/{ROOM}"))[1]
    response, body = await ask(f"/room/{id_}", headers={"If-None-Match": "*"})
    assert response.status_code == 404


async def test_errors_of_the_api_stay_problems() -> None:
    for path in (f"/api/room/{ROOM}", "/api/none", "/none", f"/room/{ROOM}/none"):
        response, _ = await ask(path)
        assert response.status_code == 404
        assert response.headers["Content-Type"] == "application/problem+json"


async def test_a_page_cannot_be_posted_to() -> None:
    for path in ("/", f"/room/{ROOM}"):
        response, _ = await ask(path, "POST")
        assert response.status_code == 405


@pytest.mark.parametrize("path", [*EVERYTHING, "/static/"])
async def test_without_the_page_there_is_only_the_api(path: str) -> None:
    response, _ = await ask(path, no_page=True)
    assert response.status_code == 404
    assert response.headers["Content-Type"] == "application/problem+json"
    assert (await ask("/api/healthz", no_page=True))[0].status_code == 200


@pytest.mark.parametrize(
    ("host", "query", "url"),
    [
        ("chat.example", "", "http://chat.example"),
        ("chat.example", "?scheme=https", "https://chat.example"),
        ("192.0.2.1:8080", "?scheme=http", "http://192.0.2.1:8080"),
        ("[2001:db8::1]:8443", "?scheme=https", "https://[2001:db8::1]:8443"),
    ],
)
async def test_the_qr_code_is_the_address_by_which_the_server_was_reached(
    host: str, query: str, url: str
) -> None:
    response, body = await ask(f"/room/{ROOM.upper()}/qr.svg{query}", headers={"Host": host})
    assert response.status_code == 200
    assert response.headers["Content-Type"] == "image/svg+xml"
    light, dark = re.findall(r'(?:fill|stroke)="([^"]+)"', body.decode())
    assert (light, dark) == ("#fff", "#000")
    assert drawn(f"{url}/room/{ROOM}") in body.decode()


@pytest.mark.parametrize(
    ("path", "host", "status"),
    [
        ("/room/x/qr.svg", "chat.example", 404),
        (f"/room/{ROOM}/qr.svg?scheme=javascript", "chat.example", 400),
        (f"/room/{ROOM}/qr.svg?scheme=", "chat.example", 400),
        (f"/room/{ROOM}/qr.svg", ".".join("a" * 200), 400),
        (f"/room/{ROOM}/qr.svg", "chat.example:" + "1" * 4000, 400),
        (f"/room/{ROOM}/qr.svg", "chat.example/#", 400),
        (f"/room/{ROOM}/qr.svg", "", 400),
    ],
)
async def test_a_qr_code_of_anything_else_is_refused(path: str, host: str, status: int) -> None:
    response, _ = await ask(path, headers={"Host": host})
    assert response.status_code == status
    assert response.headers["Content-Type"] == "application/problem+json"
