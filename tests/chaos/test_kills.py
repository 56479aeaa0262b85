"""SIGKILL at every step that somebody outside can see: what the database, the proxy and the gateway then know."""

import random
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from tests.chaos.town import CONCURRENCY, LEASE_SECONDS, SEND_SECONDS, Town, size
from tests.conftest import is_long
from tests.helpers.http_server import Reply, Request
from tests.helpers.polling import until
from tests.helpers.proxy import Proxy

MESSAGES = 30
DAEMONS = 3
LOST = "stopped before it could be recorded what became of messages; they become unconfirmed"

FORKED_OR_ENDED = """
    select s.id, count(n.id) as successors
    from scheduled_messages as s
    left join scheduled_messages as n on n.series_id = s.series_id and n.id <> s.id
    where s.scheduled_at <= now()
    group by s.id
    having count(n.id) <> 1 or bool_or(n.id <> s.next_id or n.status <> 'pending')
"""
LATEST_RESCUE = """
    select extract(epoch from max(j.updated_at - j.lease_until))::float as seconds
    from broadcast_jobs as j where j.status = 'unconfirmed'
"""


@dataclass
class Hold:
    """A proxy's fault: calls to `path` stay in its hands, before they are carried out or with the reply to them."""

    path: str
    carried_out: bool
    worth: Callable[[bytes], bool] = lambda _: True
    reached: threading.Event = field(default_factory=threading.Event)

    def __call__(self, request: Request, answer: Reply | None) -> Reply | None:
        if self.path not in request.path or (answer is None) is self.carried_out:
            return None
        if answer and not self.worth(answer.body):
            return None
        self.reached.set()
        return Reply(delay=600)


def brings_jobs(body: bytes) -> bool:
    return b'"jobs":null' not in body


@dataclass
class Step:
    """When a daemon is killed. `doubt`: whether that may leave rows of which nobody knows."""

    name: str
    hold: Callable[[], Hold] | None
    doubt: bool


STEPS = [
    Step("before rows are enqueued", lambda: Hold("rpc/enqueue_broadcast_jobs", carried_out=False), doubt=False),
    Step("after that, before the reply", lambda: Hold("rpc/enqueue_broadcast_jobs", carried_out=True), doubt=False),
    Step("before the reply to a claim", lambda: Hold("claim_broadcast_jobs", True, brings_jobs), doubt=True),
    Step("while the gateway works", None, doubt=True),
    Step("before its answer is recorded", lambda: Hold("rpc/record_outcomes", carried_out=False), doubt=True),
    Step("after that, before the reply", lambda: Hold("rpc/record_outcomes", carried_out=True), doubt=True),
]


def kill_at(step: Step, town: Town) -> None:
    """Starts a daemon on messages of a series each, and kills it at `step`."""
    town.write(MESSAGES, recurring=True)
    hold = step.hold and step.hold()
    with Proxy(town.supabase.environment["SUPABASE_URL"]) as proxy:
        proxy.fault = hold
        town.gateway.delay = 0.05 if hold else 600
        victim = town.start(SUPABASE_URL=proxy.url)
        if hold:
            assert hold.reached.wait(20), f"not reached: {step.name}"
        else:
            until(lambda: town.gateway.in_flight == CONCURRENCY, 20, "the gateway being busy")
        victim.kill()
    town.gateway.delay = SEND_SECONDS


def test_killed_at_any_step_a_daemon_leaves_rows_that_are_true_and_series_that_go_on(town, note):
    rounds, allowed = size(1, 10), 0
    for _ in range(rounds):
        for step in STEPS:
            kill_at(step, town)
            # Of all so far: a dying daemon's last claim may be carried out after we looked.
            allowed += 2 * CONCURRENCY * step.doubt
            assert town.in_doubt <= allowed, step.name
        heir = town.start()
        town.until_settled(60)
        assert heir.stop() == 0

    verdict = town.verdict()
    assert 0 < verdict.unconfirmed <= allowed
    assert town.query(FORKED_OR_ENDED) == []
    what = "SIGKILL of the only daemon, at each of six steps; every message is of a series"
    note(what, verdict, kills=rounds * len(STEPS))


def kill_with_an_heir(town: Town, poll: float) -> float:
    """Kills a daemon whose every seat waits for the gateway, when another one has made its last poll before that.

    Returns the seconds from the end of the leases to the rows telling of it; the rest of the work is done by then.
    """
    with Proxy(town.supabase.environment["SUPABASE_URL"]) as proxy:
        heir = town.start(POLL_INTERVAL_SECONDS=poll, SUPABASE_URL=proxy.url)
        until(lambda: proxy.calls["/rest/v1/rpc/claim_broadcast_jobs"], 20, "its first poll")
        heir.process.send_signal(signal.SIGSTOP)
        town.gateway.delay = 600
        town.write(MESSAGES)
        victim = town.start()
        until(lambda: town.gateway.in_flight == CONCURRENCY, 20, "the gateway being busy")
        victim.kill()
        town.gateway.delay = SEND_SECONDS
        heir.process.send_signal(signal.SIGCONT)
        town.until_settled(LEASE_SECONDS + 5)
    return float(town.query(LATEST_RESCUE)[0]["seconds"])


@pytest.mark.parametrize("poll", [1, 45], ids=["polls shorter than leases", "polls longer than leases"])
def test_a_killed_daemons_work_is_taken_over_within_the_lease_and_a_second(town, note, poll):
    late = kill_with_an_heir(town, poll)

    verdict = town.verdict()
    assert verdict.unconfirmed == CONCURRENCY
    assert 0 <= late <= 1
    note(f"SIGKILL; another daemon, polling every {poll} s, ends its leases after {late:.2f} s", verdict, kills=1)


def test_daemons_that_are_killed_at_random_all_the_time_lose_and_repeat_nothing(town, note):
    """Some daemons share the work; one after the other is killed at any instant and replaced."""
    daemons = [town.start() for _ in range(DAEMONS)]
    rate = max(town.rate() for _ in range(2)) if is_long() else 0.0
    count, kills = size(200, 30_000), size(4, 60)
    town.write(count)
    for sent in sorted(random.sample(range(count * 4 // 5), kills)):
        until(lambda more=sent: len(town.gateway.received) >= more, 120, f"{sent} being sent")
        daemons.pop(0).kill()
        daemons.append(town.start())
    town.until_settled(60 + count / 50)

    recovered = town.recovery(rate) if is_long() else None
    verdict = town.verdict()
    assert verdict.unconfirmed <= 2 * CONCURRENCY * kills
    assert recovered is None or recovered >= 0.95
    note(f"SIGKILL at random of {DAEMONS} daemons that share the work", verdict, kills=kills, recovered=recovered)


def test_told_to_end_while_supabase_is_away_it_does_so_in_time_and_says_what_it_leaves(town, note):
    town.gateway.delay = 1
    town.write(MESSAGES)
    with Proxy(town.supabase.environment["SUPABASE_URL"]) as proxy:
        daemon = town.start(SUPABASE_URL=proxy.url, DRAIN_SECONDS=1)
        until(lambda: town.gateway.in_flight >= 10, 20, "ten in flight")
        proxy.cut()
        started = time.monotonic()
        assert daemon.stop() == 0, daemon.text
        assert time.monotonic() - started < 1 + 5 + 2
    assert daemon.said(LOST)
    town.gateway.delay = SEND_SECONDS
    town.start()
    town.until_settled()

    verdict = town.verdict()
    assert verdict.unconfirmed <= CONCURRENCY
    note("SIGTERM while Supabase is away", verdict)
