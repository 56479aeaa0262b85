"""One daemon, never restarted, through everything that may happen to Supabase, one after the other."""

from collections.abc import Iterator

import pytest

from tests.chaos.town import CONCURRENCY, SEND_SECONDS, Town
from tests.chaos.troubles import TROUBLES, Trouble
from tests.conftest import is_long
from tests.helpers.counting_gateway import CountingGateway
from tests.helpers.polling import until
from tests.helpers.proxy import Proxy

BATCH = 400 if is_long() else 20
MEASURED = 1000
# Where a claim's reply may stay away longer than its lease, nobody knows of what it had claimed.
DOUBTFUL = ("connections are half open", "every call takes much longer")


class Life:
    """The daemon's, and what it reached when all was well: messages a second."""

    def __init__(self, town: Town, proxy: Proxy) -> None:
        self.town, self.proxy = town, proxy
        self.worker = town.start(SUPABASE_URL=proxy.url)
        self.rate = max(town.rate(MEASURED) for _ in range(2)) if is_long() else 0.0

    def recovery(self) -> float:
        """The part of that rate which it comes to again, given five tries."""
        best = 0.0
        for _ in range(5):
            best = max(best, self.town.rate(MEASURED) / self.rate)
            if best >= 0.95:
                break
        return best


@pytest.fixture(scope="module")
def life(supabase, tmp_path_factory) -> Iterator[Life]:
    with CountingGateway(delay=SEND_SECONDS) as gateway, Proxy(supabase.environment["SUPABASE_URL"]) as proxy:
        town = Town(supabase, gateway, tmp_path_factory.mktemp("life"))
        town.empty()
        yield Life(town, proxy)
        town.end()


@pytest.mark.parametrize(("name", "trouble"), TROUBLES.items(), ids=TROUBLES.keys())
def test_a_daemon_outlives_it(life: Life, note, name: str, trouble: Trouble):
    town = life.town
    start = town.people
    before = len(town.gateway.received)
    town.write(BATCH)
    town.write(BATCH // 2, after=3)
    until(lambda: len(town.gateway.received) >= before + BATCH // 4, 20, "a quarter being sent")
    with trouble(town, life.proxy):
        pass
    town.write(BATCH)
    try:
        town.until_settled(20)
    except AssertionError:
        print(life.worker.text[-6000:])
        import subprocess; print(subprocess.run(["tail","-c","3000",str(town.supabase.directory / "api" / "api.log")],capture_output=True,text=True).stdout)
        raise

    verdict = town.verdict(range(start, town.people))
    assert verdict.unconfirmed <= (2 * CONCURRENCY if name in DOUBTFUL else 0)
    assert life.worker.process.poll() is None, "it needed a restart"
    recovered = life.recovery() if is_long() else None
    assert recovered is None or recovered >= 0.95
    note(name, verdict, recovered)
