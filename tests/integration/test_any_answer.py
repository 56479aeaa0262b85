"""Whatever answers in Supabase's place, at whichever call, for a moment or for long: nothing is lost or fails.

The answers are those of PostgREST's page on errors, of gateways and proxies in front of it, and of what stands in the
reports supabase/supabase #49655 (PGRST303 on single calls), supabase/auth #2647 (403) and #32689 (25006 as 405).
"""

import asyncio
import itertools
import json
import random
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from local.postgres import free_port
from tests.conftest import is_long
from tests.delivery.test_webhook import SECRET, Meta
from tests.helpers.calls import BESIDE
from tests.helpers.counting_gateway import CountingGateway
from tests.helpers.http_server import Reply, Request
from tests.helpers.polling import until
from tests.helpers.process import Worker, environment
from tests.helpers.proxy import Fault, Proxy, answering, only
from tests.helpers.rows import Database, add_connections, one
from worker.errors import StoreError

PAGE = "<html><body>Sorry</body></html>"


def said(status: int, code: str | None, message: str) -> Reply:
    return Reply(status, {"code": code, "message": message, "details": None, "hint": None})


ANSWERS = {
    "401 PGRST303": said(401, "PGRST303", "JWT issued at future"),
    "401 PGRST301": said(401, "PGRST301", "No suitable key or wrong key type"),
    "401 without a code": Reply(401, {"message": "Invalid API key"}),
    "403": Reply(403, PAGE),
    "404": Reply(404, PAGE),
    "404 PGRST202": said(404, "PGRST202", "Could not find the function in the schema cache"),
    "404 PGRST125": said(404, "PGRST125", "Invalid path specified in request URL"),
    "405 25006": said(405, "25006", "cannot execute INSERT in a read-only transaction"),
    "405": Reply(405, PAGE),
    "406": said(406, "PGRST106", "The schema must be one of the following: api"),
    "409": Reply(409, PAGE),
    "413": Reply(413, PAGE),
    "429": Reply(429, {"message": "Too many requests"}),
    "301": Reply(301, PAGE, {"location": "/elsewhere"}),
    "308": Reply(308, PAGE, {"location": "https://127.0.0.1:1/"}),
    "500": Reply(500, PAGE),
    "500 40001": said(500, "40001", "could not serialize access"),
    "500 57014": said(500, "57014", "canceling statement due to statement timeout"),
    "502": Reply(502, PAGE),
    "503 PGRST001": said(503, "PGRST001", "Database client error"),
    "504 PGRST003": said(504, "PGRST003", "Timed out acquiring connection from connection pool."),
    "520": Reply(520, PAGE),
    "414": Reply(414, PAGE),
    "431": Reply(431, PAGE),
    "a page with 200": Reply(200, PAGE),
    "an error with 200": Reply(200, {"error": "upstream unavailable"}),
    "somebody else's row": Reply(200, [{"message": "ok"}]),
    "a row of null": Reply(200, [None]),
    "null": Reply(200, b"null"),
    "half of something": Reply(200, b'[{"db_now": "2026-'),
    "nothing with 204": Reply(204, b""),
    "no answer": Reply(cut=0),
}
# Every call that the daemon makes all day.
CALLS = (
    "get_pending_scheduled_messages", "get_pending_scheduled_messages_after", "get_agenda", "look_up_recipients",
    "enqueue_broadcast_jobs", "enqueue_and_claim_broadcast_jobs", "claim_broadcast_jobs", "record_outcomes",
    "rescue_broadcast_jobs", "take_withdrawn_jobs", "take_probes", "finish_probes", "record_deliveries",
    "get_due_of_others",
)  # fmt: skip
PAIRS = list(itertools.product(CALLS, ANSWERS))
ROWS = """
insert into scheduled_messages (connection_id, contact_id, message, scheduled_at, is_recurring, recurrence_pattern)
values
    ('shop', %(number)s || '1', %(name)s, now(), false, null),
    ('other', %(number)s || '2', %(name)s, now(), false, null),
    ('shop', %(number)s || '3', %(name)s, now(), true, 'daily'),
    ('ill', %(number)s || '4', %(name)s, now(), false, null),
    ('other', %(number)s || '5', %(name)s, now() + interval '1.3 s', false, null)
"""
# One that is not due yet, and more than a batch that are.
MORE = """
insert into scheduled_messages (connection_id, contact_id, message, scheduled_at)
select 'other', %(number)s || place, 'one more', now() + interval '1.2 s' * (place = 1)::integer
from generate_series(1, 4) as place
"""
ILL = """
insert into private.connection_state (connection_id, paused_reason, probe_at) values ('ill', 'logged out', now())
on conflict (connection_id) do update
set paused_reason = excluded.paused_reason, probe_at = now(), ready_at = 'infinity'
"""
# Something that a rescue has to look at: nothing, in truth.
LATE = """
insert into private.refused_rows (step, id, code, reason, again_at)
values ('settle', gen_random_uuid(), '', '', now())
"""


class Met:
    """A fault that counts whom it met, and may be ended."""

    def __init__(self, call: str, reply: Reply, times: int | None) -> None:
        self.count, self._fault = 0, only(f"rpc/{call}", answering(reply), times)

    def __call__(self, request: Request, answer: Reply | None) -> Reply | None:
        instead = self._fault(request, answer)
        self.count += instead is not None
        return instead


class Town:
    """One daemon behind a proxy, for all rounds; each begins with messages, and ends when they have gone out."""

    def __init__(self, db: Database, proxy: Proxy, gateway: CountingGateway, worker: Worker, meta: Meta) -> None:
        self.db, self.proxy, self.gateway, self.worker, self.meta = db, proxy, gateway, worker, meta
        self.rounds = 0

    def begin(self, name: str) -> None:
        self.rounds += 1
        self.db.execute(ILL)
        self.db.execute(ROWS, {"name": name, "number": f"+9198{self.rounds:07}"})

    def keeps_coming(self, enough: Callable[[], bool], is_late: bool = False) -> Callable[[], bool]:
        """Asks `enough`, and now and then schedules some more, for calls that need one that is not due yet, or many.

        is_late: gives the rescue something to look at, too, where an answer such as "nothing" does not bring it back.
        """
        asked = itertools.count(1)

        def ask() -> bool:
            if (number := next(asked)) % 40 == 0:
                self.db.execute(MORE, {"number": f"+9197{self.rounds:04}{number:03}"})
                if is_late:
                    self.db.execute(LATE)
            return enough()

        return ask

    def outcomes(self, name: str) -> dict[str, int]:
        sql = "select status, count(*) as n from scheduled_messages where message = %s group by status"
        return {row["status"]: row["n"] for row in self.db.execute(sql, (name,))}

    def receipt(self) -> bool:
        """Meta tells of a message, again and again until it is taken."""
        job = one(self.db, "select max(id::text) from broadcast_jobs where status = 'completed'")
        try:
            return job is not None and self.meta.tell(job, "read") == 200
        except httpx.TransportError:
            return False

    def end(self, name: str) -> None:
        """Five were sent, each once, and the series goes on."""
        until(lambda: self.outcomes(name).get("sent", 0) >= 5, 60, f"{name}:\n{self.outcomes(name)}\n{self.last_words}")
        assert self.outcomes(name) == {"sent": 5, "pending": 1}, name
        assert self.gateway.repeated == {}, name
        assert self.worker.process.poll() is None, f"{name}: it ended:\n{self.last_words}"

    @property
    def last_words(self) -> str:
        return self.worker.text[-3000:]


@pytest.fixture
def town(db: Database, stack: dict[str, str], proxy: Proxy, tmp_path: Path) -> Iterator[Town]:
    add_connections(db, "shop", "other", "ill")
    port = free_port()
    with CountingGateway() as gateway:
        given = {
            "SUPABASE_URL": proxy.url, "GATEWAY": "waha", "WAHA_URL": gateway.url, "REALTIME": "off",
            "POLL_INTERVAL_SECONDS": "1", "BATCH_SIZE": "2", "HTTP_PORT": str(port), "WHATSAPP_APP_SECRET": SECRET,
            "WHATSAPP_VERIFY_TOKEN": "token",
        }  # fmt: skip
        worker = Worker("run", environment(stack, given), tmp_path)
        try:
            worker.until_said("started")
            yield Town(db, proxy, gateway, worker, Meta(f"http://127.0.0.1:{port}"))
        finally:
            worker.kill()


def drawn(number: int) -> list[tuple[str, str]]:
    """All with --long; else some, other ones every time, each call among them."""
    if is_long():
        return PAIRS
    seed = random.randrange(10**6)
    print(f"drawn with {seed}")  # noqa: T201
    answers = random.Random(seed).sample(list(ANSWERS), k=len(ANSWERS))
    calls = random.Random(seed).sample(CALLS, k=len(CALLS))
    return list(zip(calls, answers, strict=False))[:number]


def meet(town: Town, fault: Met, call: str, enough: Callable[[], bool], name: str) -> None:
    town.proxy.fault = fault
    town.begin(name)
    if is_late := call in ("rescue_broadcast_jobs", "take_withdrawn_jobs"):
        town.db.execute(LATE)
    if call == "record_deliveries":
        until(lambda: town.receipt() or fault.count, 30, f"{name}: a receipt")
    until(town.keeps_coming(enough, is_late), 60, f"{name} being met:\n{town.last_words}")
    town.proxy.fault = None
    if call == "record_deliveries":
        until(town.receipt, 30, f"{name}: the receipt")
    town.end(name)


def test_one_such_answer_costs_nothing(town):
    town.begin("nothing")
    town.end("nothing")
    for call, answer in drawn(12):
        fault = Met(call, ANSWERS[answer], 1)
        meet(town, fault, call, lambda fault=fault: fault.count > 0, f"{call}: {answer}")
    said = {path.rpartition("/")[2] for path in town.proxy.calls if "/rpc/" in path}
    assert said <= {*CALLS, *BESIDE}, "a call that this test does not know"
    assert not town.worker.said("failed")


def test_many_such_answers_cost_time_alone(town):
    for call, answer in drawn(6):
        fault, until_then = Met(call, ANSWERS[answer], None), time.monotonic() + (10 if is_long() else 0)
        name = f"{call}: {answer}, for long"
        meet(town, fault, call, lambda f=fault, t=until_then: f.count > 3 and time.monotonic() > t, name)


def test_everything_may_be_answered_so_at_once(town):
    for answer in ANSWERS if is_long() else random.sample(list(ANSWERS), 2):
        town.begin(answer)
        fault: Fault = answering(ANSWERS[answer])
        met = [0]

        def counting(request: Request, reply: Reply | None, fault: Fault = fault, met: list[int] = met) -> Reply | None:
            met[0] += reply is None
            return fault(request, reply)

        town.proxy.fault = counting
        until(lambda met=met: met[0] > 8, 30, f"{answer} being met")
        town.proxy.fault = None
        town.end(answer)


async def test_a_list_of_somebody_elses_is_nobodys_answer(parts, proxy: Proxy):
    """What is asked in trouble, and by operators."""
    store = (await parts(supabase_url=proxy.url)).store
    proxy.fault = answering(ANSWERS["somebody else's row"])
    asked = (store.get_holders(), store.get_timezones("UTC"), store.resolve(str(uuid4()), "sent"), store.get_status(1))
    for fault in await asyncio.gather(*asked, return_exceptions=True):
        assert isinstance(fault, StoreError)


def test_a_server_before_the_database_may_take_small_requests_alone(town):
    """As nginx with a small client_max_body_size: what is too much at once goes in parts."""
    met = [0]

    def small_alone(request: Request, reply: Reply | None) -> Reply | None:
        if reply is not None or not re.search(r"rpc/(enqueue|record_outcomes)", request.path):
            return None
        if len(json.loads(json.loads(request.body)["p_rows"])) < 2:
            return None
        met[0] += 1
        return Reply(413, PAGE)

    town.proxy.fault = small_alone
    town.begin("small")
    town.end("small")
    assert met[0] > 0
    assert not town.worker.said("failed")
