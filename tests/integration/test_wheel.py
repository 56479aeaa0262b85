"""Without a checkout: the wheel, in an empty environment, in a folder of its own, and nothing but what it asks for."""

import json
import re
import signal
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import httpx
import psycopg
import pytest
from packaging.requirements import Requirement
from typer.main import get_command

from local.api import ROOT
from local.at import AT
from local.postgres import dies_with_parent, free_port
from tests.helpers.polling import until
from tests.helpers.rows import due_in, message
from tests.sql.roles import another_database, sql_file
from worker.__main__ import app
from worker.operating.migrate import migrations


class Installed:
    """An environment with the wheel in it; its commands are called from `home`, which knows nothing of the checkout."""

    def __init__(self, directory: Path, stack: dict[str, str]) -> None:
        self.home, self._environment = directory / "at home", directory / "an environment"
        self.home.mkdir()
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", self._environment], check=True)
        (self.packages,) = self._environment.glob("lib/python*/site-packages")
        self.variables = {
            "PATH": "/usr/bin:/bin",
            "HOME": str(self.home),
            "GATEWAY": "mock",
            "REALTIME": "off",
            **stack,
            **AT,
        }

    def install(self, wheel: Path) -> None:
        """The wheel by pip, with nothing from anywhere; what it asks for are the checkout's packages."""
        pip = [sys.executable, "-m", "pip", "--python", self._environment / "bin" / "python", "install", "-qq"]
        subprocess.run([*pip, "--no-index", "--no-deps", "--disable-pip-version-check", wheel], check=True)
        (own,) = metadata.distributions(path=[str(self.packages)], name="scheduled-messages-worker")
        for name in asked_for(own.requires or []):
            for file in metadata.distribution(name).files or []:
                top = Path(file.parts[0])
                place = metadata.distribution(name).locate_file(top)
                if ".." not in file.parts and not (self.packages / top).exists():
                    (self.packages / top).symlink_to(str(place))

    def command(self, *words: str) -> list[str]:
        return [str(self._environment / "bin" / "scheduled-messages"), *words]

    def run(self, *words: str, **variables: str) -> str:
        done = subprocess.run(
            self.command(*words), cwd=self.home, env=self.variables | variables, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


def asked_for(requirements: list[str]) -> set[str]:
    """The names of all that a distribution asks for, and of what those ask for in turn."""
    found: set[str] = set()
    waiting = [(Requirement(one), "") for one in requirements]
    while waiting:
        wanted, extra = waiting.pop()
        if wanted.marker and not wanted.marker.evaluate({"extra": extra}):
            continue
        name = re.sub(r"[-_.]+", "-", wanted.name).lower()
        if name in found and not wanted.extras:
            continue
        found.add(name)
        assert metadata.version(name) in wanted.specifier, wanted
        for one in metadata.requires(name) or []:
            waiting += [(Requirement(one), extra) for extra in (wanted.extras or {""})]
    return found


@pytest.fixture(scope="module")
def installed(stack: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Installed:
    directory = tmp_path_factory.mktemp("elsewhere")
    built = subprocess.run([ROOT / "scripts" / "wheel", directory / "dist"], capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    new = Installed(directory, stack)
    new.install(Path(built.stdout.strip()))
    return new


def test_what_builds_it_is_what_the_lock_has() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    locked = (ROOT / "requirements.lock").read_text().splitlines()
    assert [one for one in project["build-system"]["requires"] if one not in locked] == []


def test_it_migrates_a_database_with_the_files_of_the_checkout(installed: Installed, stack: dict[str, str]) -> None:
    names = [path.name for path in migrations()]
    with another_database(stack["DATABASE_URL"], "from_a_wheel") as url:
        with psycopg.connect(url, autocommit=True) as db:
            db.execute(sql_file("platform.sql"))
        said = installed.run("migrate", DATABASE_URL=url).splitlines()
        assert said == [*(f"applied {name}" for name in names), f"migrate: {len(names)} of {len(names)} files applied"]
    assert installed.run("migrate") == f"migrate: 0 of {len(names)} files applied\n"


def test_its_daemon_sends_a_message_and_shows_the_operator_s_page(installed: Installed, db) -> None:
    port = free_port()
    row = due_in(db, 0)
    with (installed.home / "log").open("w") as log:
        daemon = subprocess.Popen(
            installed.command("run"),
            env=installed.variables | {"HTTP_PORT": str(port), "POLL_INTERVAL_SECONDS": "1"},
            cwd=installed.home, stdout=log, stderr=log, preexec_fn=dies_with_parent(signal.SIGKILL),
        )  # fmt: skip
    try:
        until(lambda: message(db, row)["status"] == "sent" or daemon.poll() is not None, 30, "the message being sent")
        assert message(db, row)["status"] == "sent", (installed.home / "log").read_text()
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as http:
            assert "operator.js" in http.get("/").text
            assert http.get("/status.json").json()["so_far"]["sent"] == 1
    finally:
        daemon.send_signal(signal.SIGTERM)
        assert daemon.wait(30) == 0
    assert json.loads(installed.run("status", "--json"))["counts"]["sent"] == 1


def test_it_has_the_other_commands_and_the_pages_with_their_libraries(installed: Installed) -> None:
    installed.run("pages", "site", SUPABASE_URL="https://x.supabase.co", SUPABASE_ANON_KEY="sb_publishable_x")
    site = installed.home / "site"
    scripts = re.findall(r'src="([^"]+)"', (site / "index.html").read_text())
    assert [name for name in scripts if not (site / name).is_file()] == []
    assert "sb_publishable_x" in (site / "config.js").read_text()
    walls = installed.run(
        "preview", "--start", "2026-01-31T09:00", "--pattern", "monthly", "--timezone", "Asia/Kolkata", "--count", "2"
    )
    assert walls.splitlines() == ["2026-01-31T09:00:00+05:30", "2026-02-28T09:00:00+05:30"]
    helped = installed.run("--help")
    assert [name for name in get_command(app).commands if f" {name} " not in helped] == []
