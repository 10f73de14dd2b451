"""How much the page costs a browser: `make measure-page`. It prints figures, and asserts nothing.

They depend on the machine, so no test compares them with a limit.

- **start**: what a phone with a processor four times slower than this one computes from the last
  byte until the page can be used, in milliseconds. The tries are made in turns.
- **busy room**: 100 members say 200 messages a second for a minute; frames, long tasks, heap.
"""

import json
import re
import subprocess
import sys
import time
from typing import Any

import trio
from playwright.sync_api import Browser, CDPSession, Page, expect
from trio_websocket import ConnectionClosed, WebSocketConnection, open_websocket_url

from tests.harness.browser import Watch, chromium
from tests.harness.page_server import PageServer

SLOWER = 4
"""How many times slower than this machine the phone's processor is."""

TRIES = 5

COSTS = ("ScriptDuration", "RecalcStyleDuration", "LayoutDuration")
"""What a page costs beside what any page does, such as starting a process."""

MEMBERS = 100

RATE = 200
"""Messages a second that they say together."""

SECONDS = 60

WATCH_FRAMES = """
window.seen = {frames: 0, late: 0, longTasks: []};
new PerformanceObserver((list) => {
  for (const {duration} of list.getEntries()) seen.longTasks.push(Math.round(duration));
}).observe({type: 'longtask'});
let last = performance.now();
requestAnimationFrame(function next(now) {
  seen.frames++;
  if (now - last > 34) seen.late++;
  last = now;
  requestAnimationFrame(next);
});
"""


def measure_start(browser: Browser, server: PageServer) -> None:
    """No server is heard, so that nothing but the start of the page is measured."""
    room = server.make_room()
    for _ in range(TRIES):
        for name, path in (("home", "/"), ("room", f"/room/{room.id}")):
            watch = Watch(browser, server.owns)
            page = watch.new_page(viewport={"width": 360, "height": 740})
            page.route("**/api/**", lambda _: None)
            page.route_web_socket(re.compile(""), lambda _: None)
            session = page.context.new_cdp_session(page)
            # Computing time, since other programs may keep the browser waiting.
            session.send("Performance.enable", {"timeDomain": "threadTicks"})
            page.goto(server.url + path, wait_until="domcontentloaded")
            cost = read_costs(session)
            expect(page.get_by_role("textbox").first).to_be_enabled()
            total = sum(cost.values()) * 1000 * SLOWER
            print(f"start of {name}: {total:.0f} ms", flush=True)
            watch.close()


def measure_busy_room(browser: Browser, server: PageServer) -> None:
    room = server.make_room()
    watch = Watch(browser, server.owns)
    page = watch.new_page(viewport={"width": 1280, "height": 800})
    page.goto(f"{server.url}/room/{room.id}")
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable")
    before, elements_before = read_heap(session, page)
    url = f"{server.url.replace('http', 'ws', 1)}/api/serve/{room.id}"
    with subprocess.Popen([sys.executable, "-m", __spec__.name, url]) as talkers:
        page.wait_for_timeout(5_000)
        page.evaluate(WATCH_FRAMES)
        costs = read_costs(session)
        page.wait_for_timeout(SECONDS * 1000)
        seen = page.evaluate("seen")
        costs = {name: value - costs[name] for name, value in read_costs(session).items()}
        talkers.wait()
    page.wait_for_timeout(1_000)
    after, elements = read_heap(session, page)
    long_tasks = seen["longTasks"]
    print(f"frames: {seen['frames']} in {SECONDS} s, {seen['late']} later than 34 ms")
    print(f"long tasks: {len(long_tasks)}, the longest {max(long_tasks, default=0)} ms")
    print(f"computing: {json.dumps({name: round(cost, 2) for name, cost in costs.items()})} s")
    print(f"heap: {before:.1f} -> {after:.1f} MB; elements: {elements_before} -> {elements}")
    watch.close()


def read_costs(session: CDPSession) -> dict[str, float]:
    """Return the seconds that each kind of work has taken so far."""
    metrics: list[dict[str, Any]] = session.send("Performance.getMetrics")["metrics"]
    seconds = {metric["name"]: metric["value"] for metric in metrics}
    return {name: seconds[name] for name in COSTS}


def read_heap(session: CDPSession, page: Page) -> tuple[float, int]:
    """Return the heap in MB, once the garbage is gone, and the number of elements."""
    session.send("HeapProfiler.collectGarbage")
    used: int = page.evaluate("performance.memory.usedJSHeapSize")
    return used / 1e6, page.evaluate("document.querySelectorAll('*').length")


async def talk(url: str) -> None:
    """Join with all members, and have them talk in turns."""

    async def listen(websocket: WebSocketConnection) -> None:
        try:
            while True:
                await websocket.get_message()
        except ConnectionClosed:
            pass

    async with trio.open_nursery() as nursery:
        members = []
        for _ in range(MEMBERS):
            members.append(await nursery.start(keep_open, url))
            nursery.start_soon(listen, members[-1])
        began = time.monotonic()
        for number in range(RATE * (SECONDS + 5)):
            await trio.sleep(max(0, began + number / RATE - time.monotonic()))
            text = f"{number}: a line of `text` and more, " + "and more " * (number % 9)
            await members[number % MEMBERS].send_message(text)
        nursery.cancel_scope.cancel()


async def keep_open(
    url: str, *, task_status: trio.TaskStatus[WebSocketConnection] = trio.TASK_STATUS_IGNORED
) -> None:
    async with open_websocket_url(url) as websocket:
        task_status.started(websocket)
        await trio.sleep_forever()


def main() -> None:
    server = PageServer()
    server.start()
    try:
        with chromium() as browser:
            measure_start(browser, server)
            measure_busy_room(browser, server)
    finally:
        server.kill()


if __name__ == "__main__":
    if len(sys.argv) > 1:
        trio.run(talk, sys.argv[1])
    else:
        main()
