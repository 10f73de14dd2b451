"""How large the page is. How soon it can be used is measured by `measure.py`."""

import gzip

from sharechat.web.pages import Site
from tests.harness.http import fetch
from tests.harness.page_server import PageServer

LARGEST = 40_000
"""Bytes of everything together, compressed."""


def test_everything_together_is_small(server: PageServer) -> None:
    site = Site.from_package()
    room = server.make_room()
    paths = ["/", f"/room/{room.id}", "/manifest.webmanifest"]
    paths += [f"/static/{site.hash}/{name}" for name in site.static]
    sizes = {}
    for path in paths:
        response = fetch(server.url + path, headers={"Accept-Encoding": "gzip"})
        assert response.headers["Content-Encoding"] == "gzip"
        assert gzip.decompress(response.body)
        sizes[path.rpartition("/")[2]] = len(response.body)
    print(sizes, sum(sizes.values()))
    assert sum(sizes.values()) <= LARGEST, sizes
