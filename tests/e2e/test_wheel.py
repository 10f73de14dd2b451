"""The wheel, installed where there is no checkout, has everything that the commands need."""

import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest
import trio

from tests.harness.cluster import Cluster
from tests.harness.deadline import DEADLINE
from tests.harness.http import fetch, history, make_room, texts
from tests.harness.postgres_clients import as_url, new_database
from tests.harness.process import ServerProcess, environment

ROOT = Path(__file__).parents[2]


class Installed:
    """An installation of the wheel, with the dependencies of the tests' own environment."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bin = folder / "venv" / "bin"

    def run(self, *command: str, stdin: str = "") -> str:
        """Run a command of the installation to its end; return what it prints."""
        done = subprocess.run(
            [str(self.bin / command[0]), *command[1:]],
            cwd=self.folder,
            env=environment(),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=3 * DEADLINE,
            check=False,
        )
        assert done.returncode == 0, done
        return done.stdout


def pip(*arguments: str) -> None:
    command = [sys.executable, "-m", "pip", "--quiet", *arguments]
    subprocess.run(command, check=True, timeout=6 * DEADLINE)


@pytest.fixture(scope="module", name="installed")
def _installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    # A copy, since building leaves files behind.
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    shutil.copytree(ROOT / "sharechat", source / "sharechat")
    pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(source))
    shutil.rmtree(source)
    (wheel,) = folder.glob("*.whl")
    venv.create(folder / "venv", with_pip=False)
    installed = Installed(folder)
    python = installed.bin / "python"
    pip("--python", str(python), "install", "--no-deps", "--no-index", str(wheel))
    # This path is searched for packages, but its own .pth files, which lead to the checkout, are
    # not read.
    (packages,) = (folder / "venv").glob("lib/python*/site-packages")
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    return installed


def test_it_does_not_lead_to_the_checkout(installed: Installed) -> None:
    where = installed.run("python", "-c", "import sharechat; print(sharechat.__file__)")
    assert where.startswith(str(installed.folder))
    assert "serve" in installed.run("sharechat")


async def test_the_server_the_client_and_the_other_commands_work(installed: Installed) -> None:
    data = str(installed.folder / "rooms.db")
    command = [str(installed.bin / "sharechat"), "serve", "--port", "0", "--data", data]
    with ServerProcess([*command, "--message-rate", "0"]) as server:
        page = fetch(server.url)
        assert page.status == 200
        room = make_room(server.url)
        assert fetch(f"{server.url}/room/{room}").status == 200
        assert fetch(f"{server.url}/room/{room}/qr.svg").status == 200
        address = f"{server.url}/room/{room}"
        await trio.to_thread.run_sync(
            lambda: installed.run("sharechat", "join", address, stdin="hello\n")
        )
        assert texts(history(server.url, room)) == ["hello"]
        size = ("--members", "5", "--seconds", "0.2", "--processes", "1")
        bench = ("sharechat", "bench", server.url, "--workload", "one-to-many", *size)
        assert "deliveries/s" in await trio.to_thread.run_sync(lambda: installed.run(*bench))
        installed.run("sharechat", "backup", "copy.db", "--data", data)
        assert server.stop() == 0
    with ServerProcess([*command[:-1], str(installed.folder / "copy.db")]) as server:
        assert texts(history(server.url, room)) == ["hello"]
        assert server.stop() == 0


async def test_migrations_of_the_database_are_in_it(installed: Installed, servers: Cluster) -> None:
    async with new_database(servers.postgres.url) as empty:
        migrate = ("sharechat", "migrate", "--database-url", as_url(empty))
        said = await trio.to_thread.run_sync(lambda: installed.run(*migrate))
        assert said.startswith("Applied 0001_tables")
