"""One daemon, never restarted, through everything that may happen to Supabase, one after the other."""

import time
from collections.abc import Iterator

import pytest

from local.postgres import free_port
from tests.chaos.test_pauses import FENCED
from tests.chaos.town import CONCURRENCY, SEND_SECONDS, Town, health, size
from tests.chaos.troubles import TROUBLES, Trouble
from tests.conftest import is_long
from tests.helpers.counting_gateway import CountingGateway
from tests.helpers.polling import until
from tests.helpers.proxy import Proxy

# Where a claim's reply may stay away longer than its lease, nobody knows of what it had claimed. So it may be where a
# server starts on a machine that has other things to do.
DOUBTFUL = (
    "connections are half open",
    "every call takes much longer",
    "PostgreSQL restarted (fast)",
    "PostgreSQL restarted (immediate)",
)
SENT_AT = """
    select ltrim(contact_id, '+') || '@c.us' as chat_id, extract(epoch from sent_at)::float as at
    from scheduled_messages where sent_at is not null
"""


class Life:
    """The daemon's, and what it reached when all was well: messages a second."""

    def __init__(self, town: Town, proxy: Proxy) -> None:
        self.town, self.proxy = town, proxy
        self.port = free_port()
        self.worker = town.start(SUPABASE_URL=proxy.url, HTTP_PORT=self.port)
        self.rate = max(town.rate() for _ in range(2)) if is_long() else 0.0


@pytest.fixture(scope="module")
def life(supabase, tmp_path_factory) -> Iterator[Life]:
    with CountingGateway(delay=SEND_SECONDS) as gateway, Proxy(supabase.environment["SUPABASE_URL"]) as proxy:
        town = Town(supabase, gateway, tmp_path_factory.mktemp("life"))
        town.empty()
        yield Life(town, proxy)
        town.end()


@pytest.mark.parametrize(("name", "trouble"), TROUBLES.items(), ids=TROUBLES.keys())
def test_a_daemon_outlives_it(life: Life, note, name: str, trouble: Trouble):
    town, batch = life.town, size(20, 800)
    since, before = town.people, len(town.gateway.received)
    town.write(batch)
    town.write(batch // 2, after=3)
    until(lambda: len(town.gateway.received) >= before + batch // 4, 30, "a quarter being sent")
    trouble(town, life.proxy)
    town.write(batch)
    town.until_settled(120)

    verdict = town.verdict(since)
    assert verdict.unconfirmed + verdict.failed <= (2 * CONCURRENCY if name in DOUBTFUL else 0)
    assert not life.worker.said(FENCED), "its own words, said twice, were taken for somebody else's"
    assert life.worker.process.poll() is None, "it needed a restart"
    recovered = town.recovery(life.rate) if is_long() else None
    assert recovered is None or recovered >= 0.95
    note(name, verdict, recovered=recovered)


def test_its_health_tells_that_supabase_is_away_and_when_it_is_back(life: Life):
    until(lambda: health(life.port).status_code == 200, 20, "a healthy daemon")
    life.proxy.cut()
    until(lambda: health(life.port).status_code == 503, 20, "an unhealthy daemon")
    assert any("the last successful poll" in reason for reason in health(life.port).json()["problems"])
    life.proxy.restore()
    until(lambda: health(life.port).status_code == 200, 20, "a healthy daemon again")


def test_sent_at_is_when_the_gateway_answered_however_late_that_is_written_down(life: Life):
    town, before = life.town, len(life.town.gateway.received)
    town.write(10 * CONCURRENCY)
    until(lambda: len(town.gateway.received) >= before + CONCURRENCY, 30, "messages being sent")
    cut_at = time.monotonic()
    life.proxy.cut()
    until(lambda: health(life.port).status_code == 503, 20, "an unhealthy daemon")
    life.proxy.restore()
    outage = time.monotonic() - cut_at
    town.until_settled()

    received = {one.chat_id: one.at for one in town.gateway.received[before:]}
    sent_at = until(lambda: known if (known := sent_at_of(town)).keys() >= received.keys() else None, 30, "them all")
    assert max(sent_at[chat_id] - at for chat_id, at in received.items()) < outage / 2


def sent_at_of(town: Town) -> dict[str, float]:
    return {row["chat_id"]: row["at"] for row in town.query(SENT_AT)}
