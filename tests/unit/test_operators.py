"""The operator's page: there at once, whatever the database does, at a bounded cost to it, and without texts."""

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from worker.errors import StoreError
from worker.http import operators
from worker.http.access import Access
from worker.http.operators import FILES, Figures, OperatorsPage
from worker.http.pages import Pages
from worker.watch.metrics import Metrics
from worker.watch.vitals import Hold, Vitals

PHONE = "+919876543210"
TEXT = "Dear Asha, your results are in."


class Database:
    """Answers as it is told, and counts how often it is asked."""

    def __init__(self) -> None:
        self.asked = 0
        self.answer: dict[str, Any] | Exception = {"counts": {"sent": 1}}
        self.free = asyncio.Event()
        self.free.set()
        self.now = 1000.0
        self.seconds = 0.0  # that an answer takes

    async def __call__(self) -> dict[str, Any]:
        self.asked += 1
        await self.free.wait()
        self.now += self.seconds
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.fixture
def database() -> Database:
    return Database()


@pytest.fixture
def figures(database: Database) -> Figures:
    return Figures(database, lambda: database.now)


async def looked(figures: Figures) -> dict[str, Any]:
    """A look, and what it set going brought to its end."""
    found = await figures.look()
    if figures._asking:
        await figures._asking
    return found


async def test_a_hundred_who_look_at_once_ask_once(figures: Figures, database: Database) -> None:
    found = await asyncio.gather(*(figures.look() for _ in range(100)))
    assert database.asked == 1
    assert {str(one["figures"]) for one in found} == {str(database.answer)}


@pytest.mark.parametrize(("seconds", "pause"), [(0.0, 5.0), (0.1, 5.0), (1.0, 20.0), (40.0, 60.0)])
async def test_it_is_asked_every_five_seconds_and_less_often_where_that_costs_it_more(
    figures: Figures, database: Database, seconds: float, pause: float
) -> None:
    database.seconds = seconds
    await looked(figures)
    for _ in range(100):
        database.now += pause / 100 - 1e-6
        await looked(figures)
    assert database.asked == 1
    database.now += 0.001
    await looked(figures)
    assert database.asked == 2


async def test_nobody_who_looks_means_nobody_asks(figures: Figures, database: Database) -> None:
    await looked(figures)
    database.now += 3600
    assert database.asked == 1


async def test_while_it_hangs_the_page_is_there_and_it_is_not_asked_again(
    figures: Figures, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operators, "FIRST_SECONDS", 0.01)
    database.free.clear()
    for _ in range(3):
        database.now += 100
        assert await figures.look() == {"figures": None, "age_seconds": None, "trouble": ""}
    assert database.asked == 1
    database.free.set()
    assert (await looked(figures))["figures"] == database.answer


async def test_what_it_said_last_stays_with_its_age_while_it_is_away(figures: Figures, database: Database) -> None:
    said = database.answer
    await looked(figures)
    database.answer = StoreError("nothing listens on the server's port")
    for age in (6.0, 12.0):
        database.now += 6
        await looked(figures)
        assert await figures.look() == {
            "figures": said, "age_seconds": age, "trouble": "nothing listens on the server's port",
        }  # fmt: skip
    database.answer = {"counts": {"sent": 2}}
    database.now += 6
    await looked(figures)
    assert await figures.look() == {"figures": database.answer, "age_seconds": 0.0, "trouble": ""}


async def test_with_it_away_from_the_beginning_nobody_waits_a_second_time(
    figures: Figures, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    database.answer = StoreError("no answer in time")
    assert (await figures.look())["trouble"] == "no answer in time"
    monkeypatch.setattr(operators, "FIRST_SECONDS", 3600)
    database.free.clear()
    database.now += 6
    async with asyncio.timeout(5):
        assert (await figures.look())["figures"] is None


async def test_an_answer_that_is_none_is_named_and_the_next_look_asks_again(
    figures: Figures, database: Database
) -> None:
    database.answer = KeyError("counts")
    assert (await figures.look())["trouble"] == "KeyError"
    database.answer = {"counts": {}}
    database.now += 6
    await looked(figures)
    assert (await figures.look())["trouble"] == ""


@pytest.fixture
def vitals() -> Vitals:
    return Vitals(poll_interval=60)


@pytest.fixture
def page(vitals: Vitals, figures: Figures) -> Callable[..., httpx.AsyncClient]:
    """page(access): the operator's pages, answered in this process."""

    def build(access: Access | None = None) -> httpx.AsyncClient:
        guard = access or Access()
        operating = OperatorsPage(vitals, Metrics(), guard, figures, {"version": "1.2.3", "zones": "2026f"})
        app = Pages(vitals, Metrics(), access=guard, operators=operating).app()
        return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1:9090")

    return build


async def test_health_is_the_same_as_healthz_says(page: Callable[..., httpx.AsyncClient], vitals: Vitals) -> None:
    vitals.oldest_overdue = 500.0
    vitals.holders = [Hold(300.0, "a transaction (pid 4711, role night, idle) holds rows of connections")]
    async with page() as client:
        status, health = (await client.get("/status.json")).json(), (await client.get("/healthz")).json()
    assert not health["ok"]
    assert status["health"] | {"seconds_since_progress": {}} == health | {"seconds_since_progress": {}}
    assert any("pid 4711" in problem for problem in status["health"]["problems"])


async def test_no_text_no_secret_and_no_whole_number_leaves_by_it(
    page: Callable[..., httpx.AsyncClient], database: Database, vitals: Vitals
) -> None:
    row = "0b7f9b3e-8f0e-4d0e-9d52-3f6d3a1b2c4d"
    vitals.gateway = vitals.gateway.__class__(ok=False, detail=f"session {PHONE}, Bearer eyJhbGciOi.abc.def")
    database.answer = {
        "counts": {"sent": 1},
        "waiting": [{"connection_id": PHONE, "reason": f"its recipient {PHONE[1:]}@c.us got one", "number": 2}],
        "connections": [{"connection_id": PHONE[1:], "state": f"paused: {PHONE} is logged out", "until": None}],
        "unconfirmed": [{"id": row, "connection_id": "shop", "error": TEXT, "send_at": "2026-11-26T09:00:00+00:00"}],
        "refused": [{"id": row, "step": "settle", "code": "P0001", "reason": f"no {TEXT}", "tries": 3}],
        "runs": [{"id": row, "name": TEXT, "status_reason": TEXT, "sent": 5}],
    }
    async with page() as client:
        answer = await client.get("/status.json")
    assert TEXT not in answer.text
    assert PHONE[1:] not in answer.text
    assert "eyJ" not in answer.text
    found = answer.json()["database"]["figures"]
    assert found["unconfirmed"] == [{"id": row, "connection_id": "shop", "send_at": "2026-11-26T09:00:00+00:00"}]
    assert found["refused"] == [{"id": row, "step": "settle", "code": "P0001", "tries": 3}]
    assert found["runs"] == [{"id": row, "sent": 5}]
    assert found["waiting"][0]["number"] == 2
    assert "…3210" in found["connections"][0]["state"]


async def test_the_page_itself_is_free_tells_nothing_and_loads_only_its_own(
    page: Callable[..., httpx.AsyncClient], vitals: Vitals, database: Database
) -> None:
    vitals.gateway = vitals.gateway.__class__(ok=False, detail="down")
    async with page(Access("token", guarded=True)) as client:
        for path in FILES:
            answer = await client.get(path)
            assert answer.status_code == 200
            assert answer.headers["content-security-policy"].startswith("default-src 'self';")
            assert "1.2.3" not in answer.text
        assert (await client.get("/status.json")).status_code == 401
        assert (await client.get("/static/operator.js")).status_code == 404
    assert database.asked == 0
