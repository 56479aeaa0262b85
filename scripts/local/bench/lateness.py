"""How late a message goes out that was scheduled at least a minute ahead, with a large future in the table."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx

from local.bench import peers
from local.bench.figures import Figure, Size, percentile
from local.bench.ground import Daemon, Ground, ground
from local.postgres import dies_with_parent

MESSAGES = 500
FUTURE = 100_000
AHEAD_SECONDS = 65
DAY = 86_400
LAST = "select max(scheduled_at) from public.scheduled_messages where scheduled_at < now() + interval '1 day'"
LATE = """
select extract(epoch from sent_at - scheduled_at)::float8 * 1000 from public.scheduled_messages where status = 'sent'
"""
CONTROLS = 100


def lateness(size: Size) -> Iterator[Figure]:
    with awake():
        with ground() as place:
            yield from ours(place, size)
        with ground() as place:
            yield from others(place, size)


@contextmanager
def awake() -> Iterator[None]:
    """Hosts of virtual machines take away cores that sleep, and give them back as much as a second later."""
    end_with_us = dies_with_parent(signal.SIGKILL)
    spinner = subprocess.Popen(
        [sys.executable, "-c", "while True: pass"], preexec_fn=lambda: (os.nice(19), end_with_us())
    )
    try:
        yield
    finally:
        spinner.kill()
        spinner.wait()


def ours(place: Ground, size: Size) -> Iterator[Figure]:
    """By the database's clock; what the daemon saw when the gateway had answered; what the machine itself is worth."""
    seconds = size.lateness_seconds
    settings = f"{MESSAGES} in {seconds:g} s among {FUTURE:,} future rows, defaults"
    place.add(FUTURE, ahead=2 * DAY, spread=30 * DAY)
    began = place.add(MESSAGES, ahead=AHEAD_SECONDS, spread=seconds, first=FUTURE)
    with place.daemons(1) as (daemon,), ThreadPoolExecutor(1) as thread:
        place.sleep_until(began)
        control = thread.submit(calls_on_time, place, seconds)
        calls, cpu = daemon.calls(), daemon.cpu
        place.sleep_until(place.one(LAST))
        place.await_done("(select * from public.scheduled_messages where scheduled_at < now()) as due", limit=10)
        calls, cpu = daemon.calls() - calls, daemon.cpu - cpu
        found = {"sent_at - scheduled_at": recorded(place), "answered by the gateway": logged(daemon)}
    for what, values in found.items():
        if len(values) != MESSAGES:
            raise SystemExit(f"bench: {len(values)} of {MESSAGES} messages went out")
        yield from spread(what, values, settings)
    yield from spread("control: one empty call at an instant", control.result(), settings)
    yield Figure("lateness", "HTTP calls a message", calls / MESSAGES, "", settings=settings)
    yield Figure("lateness", "processor time a message", cpu / MESSAGES * 1000, "ms", settings=settings)


def others(place: Ground, size: Size) -> Iterator[Figure]:
    """Without the 100,000; polling as often as they can bear, all day, which is what buys them their lateness."""
    for peer in peers.install():
        if not peer.by_hand:
            settings = f"{MESSAGES} in {size.lateness_seconds:g} s, polling every {peer.poll_seconds * 1000:g} ms"
            late = peer.lateness(place, MESSAGES, size.lateness_seconds)
            yield from spread(f"{peer.name}, sent_at - scheduled_at", late, settings)


def spread(what: str, values: Sequence[float], settings: str) -> Iterator[Figure]:
    for name, share in (("p50", 0.5), ("p99", 0.99), ("max", 1.0)):
        yield Figure("lateness", f"{what}, {name}", percentile(values, share), "ms", settings=settings)


def calls_on_time(place: Ground, seconds: float) -> list[float]:
    """Milliseconds after each of some random instants at which a call that finds nothing to do was answered."""
    key = place.stack.keys["service_key"]
    late, start = list[float](), time.monotonic()
    with httpx.Client(headers={"apikey": key, "authorization": f"Bearer {key}"}, trust_env=False) as client:
        for instant in sorted(start + random.uniform(0, seconds) for _ in range(CONTROLS)):
            time.sleep(max(0.0, instant - time.monotonic()))
            began = max(instant, time.monotonic())
            client.post(
                f"{place.stack.environment['SUPABASE_URL']}/rest/v1/rpc/take_probes", json={}
            ).raise_for_status()
            late.append((time.monotonic() - began) * 1000)
    return late


def recorded(place: Ground) -> list[float]:
    return [row[0] for row in place.db.execute(LATE)]


def logged(daemon: Daemon) -> list[float]:
    lines = (json.loads(line) for line in daemon.log.read_text().splitlines() if line.startswith("{"))
    return [line["late_ms"] for line in lines if "late_ms" in line]
