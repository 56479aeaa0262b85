"""Resident memory over many messages; what a daemon costs that has nothing to do."""

import time
from collections.abc import Iterator

from local.bench.figures import Figure, Size
from local.bench.ground import Ground, ground

CONCURRENCY, BATCH_SIZE = 200, 500
SETTLE_SECONDS = 5


def memory(size: Size) -> Iterator[Figure]:
    with ground() as place:
        yield from working(place, size)
        place.clear()
        yield from idle(place, size)


def working(place: Ground, size: Size) -> Iterator[Figure]:
    """Sampled twice a second while all rows are due at once; `at first` is after the first thousand."""
    place.add(size.memory_rows, ahead=0)
    samples = []
    with place.daemons(1, CONCURRENCY=CONCURRENCY, BATCH_SIZE=BATCH_SIZE) as (daemon,):
        while (sent := daemon.metric("sent_total")) < size.memory_rows:
            if sent >= 1000:
                samples.append(daemon.resident)
            time.sleep(0.5)
        samples.append(daemon.resident)
    settings = f"{size.memory_rows:,} rows, CONCURRENCY={CONCURRENCY}, BATCH_SIZE={BATCH_SIZE}"
    for name, value in (("at first", samples[0]), ("at most", max(samples)), ("at last", samples[-1])):
        yield Figure("memory", f"resident, {name}", value, "MB", settings=settings)


def idle(place: Ground, size: Size) -> Iterator[Figure]:
    place.add(10_000, ahead=2 * 86_400)
    with place.daemons(1) as (daemon,):
        time.sleep(SETTLE_SECONDS)
        cpu, calls = daemon.cpu, daemon.calls()
        time.sleep(size.idle_seconds)
        cpu, calls = daemon.cpu - cpu, daemon.calls() - calls
        resident = daemon.resident
    settings = f"nothing due for {size.idle_seconds:g} s, defaults"
    yield Figure("memory", "idle: share of a core", cpu / size.idle_seconds * 100, "%", settings=settings)
    yield Figure("memory", "idle: HTTP calls a minute", calls / size.idle_seconds * 60, "", settings=settings)
    yield Figure("memory", "idle: resident", resident, "MB", settings=settings)
