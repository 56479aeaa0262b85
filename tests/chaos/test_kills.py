"""SIGKILL at every step that somebody outside can see: what the database, the proxy and the gateway then know."""

import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from tests.chaos.town import CONCURRENCY, LEASE_SECONDS, SEND_SECONDS, Town
from tests.helpers.http_server import Reply, Request
from tests.helpers.polling import until
from tests.helpers.proxy import Proxy

MESSAGES = 30


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
    hold: Hold | None
    doubt: bool


STEPS = [
    Step("before its rows are enqueued", Hold("rpc/enqueue_broadcast_jobs", carried_out=False), doubt=False),
    Step("after that, before the reply", Hold("rpc/enqueue_broadcast_jobs", carried_out=True), doubt=False),
    Step("after a claim, before the reply", Hold("claim_broadcast_jobs", carried_out=True, worth=brings_jobs), doubt=True),
    Step("while the gateway works", None, doubt=True),
    Step("after the answer, before it is recorded", Hold("rpc/record_outcomes", carried_out=False), doubt=True),
    Step("after it is recorded, before the reply", Hold("rpc/record_outcomes", carried_out=True), doubt=True),
]  # fmt: skip


def kill_at(step: Step, town: Town) -> None:
    """Starts a daemon on messages of a series each, and kills it at `step`."""
    before = town.in_doubt
    town.write(MESSAGES, is_recurring=True, recurrence_pattern="daily")
    with Proxy(town.supabase.environment["SUPABASE_URL"]) as proxy:
        proxy.fault = step.hold
        town.gateway.delay = 0.05 if step.hold else 600
        victim = town.start(SUPABASE_URL=proxy.url)
        if step.hold:
            assert step.hold.reached.wait(20), f"not reached: {step.name}"
        else:
            until(lambda: town.gateway.in_flight == CONCURRENCY, 20, "the gateway being busy")
        victim.kill()
    town.gateway.delay = SEND_SECONDS
    assert town.in_doubt - before <= (2 * CONCURRENCY if step.doubt else 0), step.name


def test_killed_at_any_step_a_daemon_leaves_rows_that_are_true_and_series_that_go_on(town, note):
    for step in STEPS:
        kill_at(step, town)
    town.start()
    town.until_settled()

    verdict = town.verdict()
    assert 0 < verdict.unconfirmed <= 2 * CONCURRENCY * sum(step.doubt for step in STEPS)
    assert town.query(FORKED_OR_ENDED) == []
    note("a daemon killed (SIGKILL) at each of six steps, messages of a series", verdict)


FORKED_OR_ENDED = """
    select s.id, count(n.id) as successors
    from scheduled_messages as s
    left join scheduled_messages as n on n.series_id = s.id and n.id <> s.id
    where s.scheduled_at <= now()
    group by s.id
    having count(n.id) <> 1 or bool_or(n.id <> s.next_id or n.status <> 'pending')
"""
LATEST_RESCUE = """
    select extract(epoch from max(j.updated_at - j.lease_until))::float as seconds from broadcast_jobs as j where j.status = 'unconfirmed'
"""


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
        town.until_settled(LEASE_SECONDS + 3)
    assert town.verdict().unconfirmed == CONCURRENCY
    return float(town.query(LATEST_RESCUE)[0]["seconds"])


@pytest.mark.parametrize("poll", [1, 45], ids=["polls shorter than leases", "polls longer than leases"])
def test_a_killed_daemons_work_is_taken_over_within_the_lease_and_a_second(town, note, poll):
    late = kill_with_an_heir(town, poll)
    assert 0 <= late <= 1
    note(f"takeover {late:.2f} s after the leases of a killed daemon, polls every {poll} s", town.verdict())
