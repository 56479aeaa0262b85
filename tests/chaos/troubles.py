"""What may happen to Supabase. Each begins, lasts until the daemon has felt it, and ends."""

import itertools
import os
import signal
from collections import Counter
from collections.abc import Callable

from tests.chaos.town import LEASE_SECONDS, Town
from tests.conftest import is_long
from tests.helpers import proxy as faults
from tests.helpers.http_server import Reply, Request
from tests.helpers.polling import until
from tests.helpers.proxy import Fault, Proxy

Trouble = Callable[[Town, Proxy], None]

BACKENDS = "select pid from pg_stat_activity where usename = 'authenticator'"
CHANGES = {"enqueue_broadcast_jobs", "claim_broadcast_jobs", "enqueue_and_claim_broadcast_jobs", "record_outcomes"}
NONSENSE = [
    faults.answering(Reply(503, {"message": "no schema cache yet", "code": "PGRST002"})),
    faults.answering(Reply(500, "")),
    faults.answering(Reply(500, ["not", "an", "object"])),
    faults.answering(Reply(502, "<html><h1>Bad gateway</h1></html>")),
    faults.answering(Reply(200, "<html><h1>Please log in</h1></html>")),
    faults.answering(Reply(200, {"of": "another shape"})),
    faults.truncated,
    faults.halved,
]


def felt(proxy: Proxy, calls: int = 3) -> None:
    """Waits until the daemon has made so many more calls."""
    before = proxy.calls.total()
    until(lambda: proxy.calls.total() >= before + calls, 90, "the daemon feeling it")


def postgres_restarts(town: Town, proxy: Proxy, sig: signal.Signals) -> None:
    town.supabase.postgres.stop(sig)
    felt(proxy)
    town.supabase.postgres.spawn()


def backends_die(town: Town, proxy: Proxy) -> None:
    """One of the API's is ended, then one killed, which makes PostgreSQL drop them all and recover."""
    for sig in (signal.SIGTERM, signal.SIGKILL):
        os.kill(until(lambda: town.query(BACKENDS), of="a backend of the API's")[0]["pid"], sig)
        felt(proxy)


def api_dies(town: Town, proxy: Proxy) -> None:
    town.supabase.api.stop()
    felt(proxy)
    town.supabase.api.start()


def replies_lost(town: Town, proxy: Proxy) -> None:
    """Committed, but never told: every other reply of each call that changes something."""
    heard: Counter[str] = Counter()

    def lose(request: Request, answer: Reply | None) -> Reply | None:
        call = request.path.rpartition("/")[2]
        if answer is None or call not in CHANGES:
            return None
        heard[call] += 1
        return faults.forgetful(request, answer) if heard[call] % 2 else None

    proxy.fault = lose
    while heard.keys() != CHANGES:
        for after in (0.6, 1.0, 1.4, 1.8):  # known in advance, a row goes the shortest way
            town.write(1, after)
        until(lambda: town.open == 0, 60, "it being sent")
    proxy.fault = None


def nonsense(_: Town, proxy: Proxy) -> None:
    """Every second call is answered with something else that no client expects."""
    count, kinds = itertools.count(), itertools.cycle(NONSENSE)
    chosen: dict[int, Fault] = {}

    def talk(request: Request, answer: Reply | None) -> Reply | None:
        if answer is None and next(count) % 2 == 0:
            chosen[id(request)] = next(kinds)
        kind = chosen.pop(id(request), None) if answer else chosen.get(id(request))
        return kind(request, answer) if kind else None

    faulty(proxy, talk, 2 * len(NONSENSE))


def faulty(proxy: Proxy, fault: Fault, calls: int = 3) -> None:
    proxy.fault = fault
    felt(proxy, calls)
    proxy.fault = None


def half_open(_: Town, proxy: Proxy) -> None:
    """Connections stay, requests arrive, and nothing ever comes back."""
    faulty(proxy, faults.answering(Reply(delay=3600)))


def latency(_: Town, proxy: Proxy) -> None:
    faulty(proxy, faults.slow(30 if is_long() else LEASE_SECONDS / 2))


TROUBLES: dict[str, Trouble] = {
    "PostgreSQL restarted (fast)": lambda town, proxy: postgres_restarts(town, proxy, signal.SIGINT),
    "PostgreSQL restarted (immediate)": lambda town, proxy: postgres_restarts(town, proxy, signal.SIGQUIT),
    "PostgreSQL's backends killed": backends_die,
    "the API server killed and restarted": api_dies,
    "replies lost after the commit": replies_lost,
    "5xx, HTML, JSON cut off and of other shapes": nonsense,
    "connections are half open": half_open,
    "every call takes much longer": latency,
}
