"""What the doctor says of this machine's clock, and of Realtime."""

from datetime import UTC, datetime
from http import HTTPStatus
from types import SimpleNamespace
from typing import Any

import pytest

from tests.realtime_double import RealtimeDouble
from worker import config
from worker.operating import doctor
from worker.store.answers import Connection
from worker.store.clock import Clock


def machine(ahead: float) -> Any:
    """A store whose machine's wall clock is so many seconds ahead of the database's."""
    clock = Clock(lambda: 0.0, lambda: 1_000_000.0 + ahead)
    clock.observe(datetime.fromtimestamp(1_000_000.0, UTC), 0.0)
    return SimpleNamespace(clock=clock)


@pytest.mark.parametrize(
    ("ahead", "level", "words"),
    [
        (0, "ok", "agrees with the database's (+0.0 s)"),
        (4.5, "ok", "(+4.5 s)"),
        (-4.5, "ok", "(-4.5 s)"),
        (60, "warning", "is +60 s off"),
        (-60, "warning", "is -60 s off"),
        (-5, "warning", "is -5 s off"),
    ],
)
def test_a_clock_that_is_ahead_or_behind_is_a_warning(ahead: float, level: str, words: str) -> None:
    finding = doctor.clock(machine(ahead))
    assert finding.level == level
    assert words in finding.what
    assert ("run NTP" in finding.remedy) == (level == "warning")


async def test_the_environments_own_gateway_that_is_down_is_a_failure_though_a_connections_works() -> None:
    """A phone that is not paired is its owner's matter; this one is the operator's."""

    async def connections(_: int) -> list[Connection]:
        return [Connection("shop", "mock", None)]

    nowhere = {"WHATSAPP_API_BASE": "http://127.0.0.1:1", "WHATSAPP_PHONE_NUMBER_ID": "1", "WHATSAPP_ACCESS_TOKEN": "t"}
    given = {"SUPABASE_URL": "http://127.0.0.1:1", "SUPABASE_SERVICE_ROLE_KEY": "k", "GATEWAY": "cloud", **nowhere}
    store: Any = SimpleNamespace(get_connections=connections)
    found = [finding async for finding in doctor.gateway(config.load(given, dotenv=None), store)]
    assert [finding.level for finding in found] == ["failure", "ok"]
    assert found[0].what.startswith("gateway cloud: The gateway cannot be reached")


@pytest.mark.parametrize(
    ("refuse", "fault", "level", "words"),
    [
        (None, "", "ok", "Realtime tells of changes"),
        (404, "", "warning", "this server has no Realtime"),
        (403, "", "warning", "Realtime does not tell of changes: HTTP 403"),
        (None, "error", "warning", "Realtime does not tell of changes: CHANNEL_ERROR"),
    ],
)
async def test_realtime_is_asked_as_the_daemon_asks_it(refuse: int | None, fault: str, level: str, words: str) -> None:
    """Beyond the upgrade: a server that refuses the table's channel tells of nothing."""
    async with RealtimeDouble() as server:
        server.refuse = HTTPStatus(refuse) if refuse else None
        server.joins += [fault] if fault else []
        settings = SimpleNamespace(supabase_url=server.url, supabase_service_role_key="key", realtime="auto")
        finding = await doctor.realtime(settings)
    assert (finding.level, finding.what.startswith(words)) == (level, True), finding
