"""A store that does as it is told, so that a loop can be seen to ask for the right thing, and how often."""

import asyncio
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

from tests.helpers import nouns
from worker import config
from worker.jobs import Decision, Due, HandOver, Job, Known, Settlement
from worker.models import Health, Message, Outcome, Sent
from worker.sending.dispatcher import Dispatcher
from worker.sending.probe import Probe
from worker.sending.rescue import Rescue
from worker.sending.scheduler import Scheduler
from worker.sending.sender import Sender
from worker.store.answers import Agenda, Claim, Connection, Done, Rescued, Withdrawn
from worker.store.clock import Clock
from worker.waiting import Alarm
from worker.watch.metrics import Metrics
from worker.watch.vitals import Vitals

NOTHING = Agenda([], 0, None, None, None, None)


def settings(**overrides: object) -> config.Settings:
    """Of a daemon that nothing but an event wakes: it polls once an hour."""
    given = {"SUPABASE_URL": "http://127.0.0.1:1", "SUPABASE_SERVICE_ROLE_KEY": "k", "POLL_INTERVAL_SECONDS": "3600"}
    given |= {name.upper(): str(value) for name, value in overrides.items()}
    return config.load(given, dotenv=None)


class ToldStore:
    """What it answers may be changed at any time; what it was asked is kept."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.pending: list[list[Due]] = []  # of one look each; then there is nothing
        self.agenda = NOTHING
        self.ready_at: datetime | None = None  # what a claim tells
        self.jobs: Callable[[int, Sequence[str]], list[Job]] = lambda _seats, _busy: []
        self.won: Callable[[Sequence[Decision]], list[str]] = lambda rows: [row.id for row in rows]
        self.recording: Callable[[Sequence[Settlement]], None] = lambda _: None
        self.hurried = False
        self.may_claim = asyncio.Event()  # a claim is answered when it is set
        self.may_claim.set()
        self.may_record = asyncio.Event()
        self.may_record.set()
        self.hand_overs: list[HandOver] = []
        self.fault: Exception | None = None  # of every look, claim and rescue
        self.rescued = 0
        self.next_expiry_at: datetime | None = None  # what a rescue tells
        self.paused: list[Connection] = []  # connections whose probe is due, told once
        self.probe_at: datetime | None = None
        self.well: list[str] = []
        self.probes = 0
        self.taken_early: list[list[str]] = []  # the rows that each claim brought along
        self.looks = self.agendas = self.rescues = 0
        self.claims: list[list[str]] = []  # the busy ones of each
        self.enqueued: list[Decision] = []
        self.recorded: list[Settlement] = []

    def hurry(self) -> None:
        self.hurried = True

    async def get_pending(self, after: tuple[datetime, str] | None = None) -> list[Due]:
        if after is not None:
            return []
        self.looks += 1
        self.fail()
        return self.pending.pop(0) if self.pending else []

    async def get_due_of_others(self, _: Sequence[str]) -> list[Due]:
        return []

    async def get_agenda(self, *_: float) -> Agenda:
        self.agendas += 1
        await asyncio.sleep(0)  # as any call, it lets others go on
        return self.agenda

    async def look_up_recipients(self, _: list[str]) -> dict[str, Known]:
        return {}

    async def enqueue(self, rows: Sequence[Decision], _: float = 0.0) -> Done:
        won = self.won(rows)
        self.enqueued += [row for row in rows if row.id in won]
        return Done(won, [])

    async def claim(self, seats: int, *given: Any, **_: Any) -> Claim:
        self.claims.append(list(given[2]))
        self.taken_early += [[row.id for row in given[3]]] if given[3] else []
        self.fail()
        await self.may_claim.wait()
        return Claim(self.jobs(seats, given[2]), self.ready_at, asyncio.get_running_loop().time(), [])

    async def record(self, batch: Sequence[Settlement]) -> Done:
        await self.may_record.wait()
        self.recording(batch)
        self.recorded += batch
        return Done([], [])

    async def rescue(self, _: float) -> Rescued:
        self.rescues += 1
        self.fail()
        return Rescued(self.rescued, 0, [], self.hand_overs, self.next_expiry_at)

    async def take_probes(self, _: int) -> tuple[list[Connection], datetime | None]:
        self.probes += 1
        self.fail()
        taken, self.paused = self.paused, []
        return taken, self.probe_at

    async def finish_probes(self, well: list[str], _: list[str]) -> tuple[list[str], datetime | None]:
        self.well += well
        return well, self.probe_at

    def fail(self) -> None:
        if self.fault:
            raise self.fault

    async def take_withdrawn(self) -> list[Withdrawn]:
        return []


class ToldGateway:
    """outcome: of every send. `open`: while it is not set, a send does not return."""

    timeout = 10.0

    def __init__(self, outcome: Outcome | None = None, name: str = "waha") -> None:
        self.outcome, self.name = outcome or Sent("m"), name
        self.sent: list[Message] = []
        self.health = Health(True)
        self.open = asyncio.Event()
        self.open.set()

    @property
    def default(self) -> "ToldGateway":
        return self

    def of(self, _: str) -> "ToldGateway":
        return self

    async def send(self, message: Message) -> Outcome:
        self.sent.append(message)
        await self.open.wait()
        return self.outcome

    async def check(self, _: str) -> Health:
        return self.health


def claimed(store: Any, connection: str = "shop", lease_left: float = 60, **fields: Any) -> Job:
    """A job as a claim tells of it: due, and nothing paces it."""
    asked_at = time.monotonic()
    return nouns.job(
        connection_id=connection, claimed_at=asked_at, lease_ends=asked_at + lease_left,
        scheduled_at=store.clock.now() - timedelta(seconds=1), **fields,
    )  # fmt: skip


def due(store: Any, seconds: float = 0.0, **fields: Any) -> Due:
    """A row of scheduled_messages that falls due in so many seconds."""
    return nouns.due(scheduled_at=store.clock.now() + timedelta(seconds=seconds), **fields)


def parts(
    store: ToldStore,
    gateway: ToldGateway,
    on_stopped: Callable[[], None] = lambda: None,
    listeners: Sequence[Callable[[Agenda], None]] = (),
    **overrides: object,
) -> Any:
    """A daemon's loops on these, not running."""
    these, metrics = settings(**overrides), Metrics()
    vitals = Vitals(these.poll_interval_seconds)
    as_store: Any = store
    as_gateways: Any = gateway
    claims = Alarm(lambda: vitals.beat("dispatcher"))
    probe = Probe(as_store, as_gateways, claims, vitals)
    sender = Sender(as_gateways, store.clock, these, on_stopped)
    dispatcher = Dispatcher(as_store, sender, these, metrics, vitals, claims)
    rescue = Rescue(as_store, as_gateways, these, metrics, vitals, claims)
    listeners = [dispatcher.plan, rescue.plan, probe.plan, *listeners]
    scheduler = Scheduler(as_store, dispatcher, these, metrics, vitals, listeners)
    loops = {"dispatcher": dispatcher, "scheduler": scheduler, "rescue": rescue, "probe": probe}
    return SimpleNamespace(sender=sender, vitals=vitals, claims=claims, **loops)
