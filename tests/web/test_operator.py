"""The operator's page of a real daemon, in a real browser; also with the database, or the daemon, away."""

import re
import signal
import time
from collections.abc import Iterator

import httpx
import pytest

from local.api import ROOT
from local.browser import Browser, Remote
from local.pictures import cut_off
from local.postgres import free_port
from tests.helpers.http_server import Reply
from tests.helpers.polling import until
from tests.helpers.process import Worker, environment
from tests.helpers.proxy import Proxy
from tests.helpers.rows import add_connections, one, schedule, schedule_many, settled, statuses
from tests.helpers.zones import where_it_is_noon
from tests.web.desk import LAPTOP, PHONE

AXE = (ROOT / "node_modules" / "axe-core" / "axe.min.js").read_text()
TOKEN = "an operator's own token"
AWAY = re.compile(r"error: Failed to load resource: ")
TEXT = "Dear Asha, your results are in."


class Office:
    """A daemon with a token, a way to the database that can be cut, and who looks at its page."""

    def __init__(self, stack: dict[str, str], directory) -> None:
        self.way = Proxy(stack["SUPABASE_URL"])
        self.way.__enter__()
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        given = {
            "SUPABASE_URL": self.way.url, "GATEWAY": "mock", "REALTIME": "off", "POLL_INTERVAL_SECONDS": "1",
            "HTTP_PORT": str(port), "HTTP_TOKEN": TOKEN,
        }  # fmt: skip
        self._environment, self._directory = environment(stack, given), directory
        self.come()

    def come(self) -> None:
        self.worker = Worker("run", self._environment, self._directory)
        self.worker.until_said("started", 30)

    def close(self) -> None:
        self.worker.stop(signal.SIGKILL)
        self.way.__exit__(None, None, None)


@pytest.fixture(scope="module")
def office(stack, tmp_path_factory) -> Iterator[Office]:
    running = Office(stack, tmp_path_factory.mktemp("office"))
    yield running
    running.close()


@pytest.fixture
def look(browser: Browser, office: Office) -> Iterator:
    """look(): the page in a new window, signed in; look(token=None) before that.

    At the end the console has said nothing but of answers that are no 2xx, as the first of each page without a token
    is; nobody but the daemon was asked, and in no address stood the token.
    """
    opened: list[Remote] = []

    def open_page(token: str | None = TOKEN, **options) -> Remote:
        context = browser.newContext(**{"viewport": LAPTOP, "timezoneId": "Asia/Kolkata", **options})
        opened.append(context)
        page = context.newPage()
        page.goto(office.url)
        if token is not None:
            sign_in(page, token)
            page.locator("#messages .figures").waitFor()
        return page

    yield open_page
    office.way.fault = None
    for context in opened:
        said = [line for line in context.said() if not AWAY.match(line)]
        asked = [one["url"] for one in context.asked()]
        context.close()
        assert said == []
        assert {url.removeprefix(office.url) for url in asked} <= {
            "/", "/operator.css", "/operator.js", "/icon.svg", "/status.json",
        }, asked  # fmt: skip


def sign_in(page: Remote, token: str) -> None:
    page.getByLabel("HTTP_TOKEN, as in the daemon’s environment").fill(token)
    page.getByRole("button", name="Show").click()


def figure(page: Remote, part: str, name: str) -> str:
    return page.locator(f"#{part} dt:text-is('{name}') + dd").innerText()


def looks_again(page: Remote) -> Remote:
    """Who comes back to the tab looks at once."""
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    return page


def test_it_asks_for_the_token_keeps_it_in_the_tab_and_forgets_it_when_told(look):
    page = look(token=None)
    page.getByText("This page tells its operator alone.").waitFor()
    sign_in(page, "a guess")
    page.getByText("That is not the token.").waitFor()
    assert page.evaluate("sessionStorage.length") == 0
    sign_in(page, f" {TOKEN} ")
    page.getByText("Well", exact=True).waitFor()
    page.reload()
    page.getByText("Well", exact=True).waitFor()
    assert page.evaluate("localStorage.length") == 0
    page.getByRole("button", name="Forget the token").click()
    page.getByText("This page tells its operator alone.").waitFor()
    assert page.evaluate("sessionStorage.length") == 0


def test_what_was_sent_and_how_late_and_what_waits_why(no_daemon, look, db):
    """No daemon but the office's: each tells how late it was itself."""
    schedule_many(db, 30, connections=3)
    add_connections(db, "slow", "ill")
    sql = "insert into connection_settings (connection_id, daily_limit, at_daily_limit, timezone) "
    db.execute(sql + "values ('slow', 1, 'defer', %s)", (where_it_is_noon(),))
    for n in range(3):
        schedule(db, connection_id="slow", contact_id=f"+91987650000{n}", message=TEXT)
    schedule(db, connection_id="shop-1", contact_id="nobody at all", message=TEXT)
    until(lambda: one(db, "select count(*) from scheduled_messages where waiting_reason is not null") == 2, 30)
    until(lambda: statuses(db).get("sent") == 31, 30)
    page = look()
    until(lambda: figure(page, "messages", "sent") == "31", 20)  # what somebody saw before is kept for a moment
    assert figure(page, "messages", "failed") == "1"
    assert figure(page, "messages", "waiting or being sent") == "2"
    assert figure(page, "messages", "due now") == "0"
    assert figure(page, "lateness", "messages") == "31"
    assert re.fullmatch(r"[\d.]+ m?s", figure(page, "lateness", "p99"))
    assert "31 sent" in page.locator("#rate").innerText()
    assert page.locator(".rate rect").count() == 90
    waiting = page.locator("#waiting tbody").innerText()
    assert "slow" in waiting
    assert "daily limit" in waiting
    assert page.locator("#versions").innerText().count("mock") == 1
    assert TEXT not in page.content()
    assert "98765" not in page.content()


def test_however_many_look_the_database_is_asked_once_in_five_seconds(office, db):
    def asked() -> int:
        said = http.get("/metrics").text
        found = re.search(r'rpc_seconds_count{rpc="get_status_with_runs"} (\d+)', said)
        return int(found[1]) if found else 0

    headers = {"authorization": f"Bearer {TOKEN}"}
    with httpx.Client(base_url=office.url, headers=headers, trust_env=False) as http:
        before, began = asked(), time.monotonic()
        for _ in range(40):
            assert http.get("/status.json").status_code == 200
        assert asked() - before <= 1 + (time.monotonic() - began) // 5


@pytest.mark.parametrize(("theme", "size"), [("light", LAPTOP), ("dark", PHONE)], ids=["laptop", "phone in the dark"])
def test_axe_finds_nothing_and_nothing_is_cut_off(look, db, office, theme, size):
    add_connections(db, "Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft")
    page = look(colorScheme=theme, viewport=size)
    for _ in range(2):
        page.evaluate(AXE)
        found = page.evaluate(
            "async () => (await axe.run()).violations.map(({ id, nodes }) => [id, nodes.map((node) => node.html)])"
        )
        assert (found, cut_off(page)) == ([], [])
        page.evaluate("sessionStorage.clear()")  # and once more, as it is before anybody has signed in
        page.reload()
        page.getByText("This page tells its operator alone.").waitFor()


def test_with_the_database_away_the_page_is_there_and_says_how_old_its_figures_are(look, db, office):
    add_connections(db, "shop")
    schedule(db)
    until(lambda: settled(db), 30)
    page = look()
    until(lambda: figure(page, "messages", "sent") == "1", 20)
    office.way.fault = lambda request, answer: Reply(cut=0) if answer is None else None
    until(lambda: looks_again(page).getByText("The database does not answer").isVisible(), 30)
    assert figure(page, "messages", "sent") == "1"
    office.way.fault = None
    until(lambda: not looks_again(page).getByText("The database does not answer").isVisible(), 30)


def test_with_the_daemon_away_what_it_said_last_stays_and_it_comes_back(look, db, office):
    page = look()
    page.getByText("Well", exact=True).waitFor()
    office.worker.stop(signal.SIGKILL)
    until(lambda: looks_again(page).getByText("The daemon does not answer").isVisible(), 30)
    page.getByText("No answer", exact=True).waitFor()
    assert page.locator("#messages").isVisible()
    office.come()
    until(lambda: looks_again(page).getByText("Well", exact=True).isVisible(), 30)
