"""One browser, one daemon and one server of pages for all tests of this folder; a window and a user for each."""

import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from local.browser import Browser
from local.pages import Pages
from local.postgres import free_port
from tests.helpers.accounts import User
from tests.helpers.process import Worker, environment
from tests.helpers.proxy import Proxy
from tests.helpers.rows import Database
from tests.web.desk import Desk
from worker.operating.pages import export

# Chromium says so of each answer that is no 2xx, and of a Realtime that is not there.
NETWORK = re.compile(r"error: (Failed to load resource: |WebSocket connection to )")


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    with Browser() as started:
        yield started


@pytest.fixture(scope="package")
def api(stack: dict[str, str]) -> Iterator[Proxy]:
    """Between the pages and the API: its faults are those of the way to the server."""
    with Proxy(stack["SUPABASE_URL"]) as proxy:
        yield proxy


class Daemon:
    """The daemon of this folder, which can be away for a while. It answers /preview on `url`."""

    def __init__(self, stack: dict[str, str], directory: Path) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        settings = {"GATEWAY": "mock", "REALTIME": "off", "POLL_INTERVAL_SECONDS": "1", "HTTP_PORT": str(port)}
        self._environment, self._directory = environment(stack, settings), directory
        self.come()

    def come(self) -> None:
        self._worker = Worker("run", self._environment, self._directory)
        self._worker.until_said("started", 30)

    def go(self) -> None:
        if self.is_here:
            self._worker.stop(signal.SIGKILL)

    @property
    def is_here(self) -> bool:
        return self._worker.process.poll() is None


@pytest.fixture(scope="package")
def the_daemon(stack: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    running = Daemon(stack, tmp_path_factory.mktemp("daemon"))
    yield running
    running.go()


@pytest.fixture
def no_daemon(the_daemon: Daemon) -> Iterator[Daemon]:
    """It is away until the test calls come()."""
    the_daemon.go()
    yield the_daemon
    if not the_daemon.is_here:
        the_daemon.come()


@pytest.fixture(scope="package")
def pages(stack: dict[str, str], api: Proxy, the_daemon: Daemon) -> Iterator[Pages]:
    with Pages(api.url, stack["SUPABASE_ANON_KEY"], preview_url=the_daemon.url) as serving:
        yield serving


@pytest.fixture(scope="package")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pages as ./scripts/pages puts them down."""
    directory = tmp_path_factory.mktemp("pages")
    export(directory, {})
    return directory


@pytest.fixture
def person(user: Callable[[], User]) -> User:
    """Somebody with the connection `shop`."""
    return user()


@pytest.fixture
def desk(
    browser: Browser, pages: Pages, api: Proxy, stack: dict[str, str], db: Database
) -> Iterator[Callable[..., Desk]]:
    """desk(person): a window of somebody who is signed in; desk(): of nobody. Further arguments are Playwright's.

    At the end no console has said anything, unless `troubled`, when answers that are no 2xx may be mentioned; and no
    window has asked anybody but the pages' own server, or known the service key.
    """
    opened: list[tuple[Desk, bool]] = []

    def sit_down(person: User | None = None, troubled: bool = False, **options: Any) -> Desk:
        window = Desk(browser, pages.url, person, options)
        opened.append((window, troubled))
        return window

    yield sit_down
    api.fault = None
    for window, troubled in opened:
        said = [line for line in window.context.said() if not (troubled and NETWORK.match(line))]
        asked = window.context.asked()
        window.context.close()
        assert said == []
        assert not [one["url"] for one in asked if stack["SUPABASE_SERVICE_ROLE_KEY"] in str(one)]
        assert not [
            one["url"]
            for one in asked
            if not one["url"].startswith((pages.url, pages.url.replace("http", "ws"), "data:"))
        ]
