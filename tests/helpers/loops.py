"""A store that does as it is told, so that a loop can be seen to ask for the right thing, and how often."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

from worker import config
from worker.models import Health, Message, Outcome, Sent
from worker.sending.dispatcher import Dispatcher
from worker.sending.probe import Probe
from worker.sending.rescue import Rescue
from worker.sending.scheduler import Scheduler
from worker.sending.sender import Sender
from worker.store.calls import Agenda, Claim, Done, Enqueue, Row, Settlement
from worker.store.clock import Clock
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
        self.pending: list[list[Row]] = []  # of one look each; then there is nothing
        self.agenda = NOTHING
        self.ready_at: datetime | None = None  # what a claim tells
        self.jobs: Callable[[int, Sequence[str]], list[Row]] = lambda _seats, _busy: []
        self.won: Callable[[Sequence[Enqueue]], list[str]] = lambda rows: [row.id for row in rows]
        self.recording: Callable[[Sequence[Settlement]], None] = lambda _: None
        self.hurried = False
        self.may_claim = asyncio.Event()  # a claim is answered when it is set
        self.may_claim.set()
        self.may_record = asyncio.Event()
        self.may_record.set()
        self.hand_overs: list[Row] = []
        self.fault: Exception | None = None  # of every look, claim and rescue
        self.rescued = 0
        self.next_expiry_at: str | None = None  # what a rescue tells
        self.paused: list[Row] = []  # connections whose probe is due, told once
        self.probe_at: datetime | None = None
        self.well: list[str] = []
        self.probes = 0
        self.taken_early: list[list[str]] = []  # the rows that each claim brought along
        self.looks = self.agendas = self.rescues = 0
        self.claims: list[list[str]] = []  # the busy ones of each
        self.enqueued: list[Enqueue] = []
        self.recorded: list[Settlement] = []

    def hurry(self) -> None:
        self.hurried = True

    async def get_pending(self, after: Row | None = None) -> list[Row]:
        if after is not None:
            return []
        self.looks += 1
        self.fail()
        return self.pending.pop(0) if self.pending else []

    async def get_due_of_others(self, _: Sequence[str]) -> list[Row]:
        return []

    async def get_agenda(self, *_: float) -> Agenda:
        self.agendas += 1
        await asyncio.sleep(0)  # as any call, it lets others go on
        return self.agenda

    async def look_up_recipients(self, _: list[str]) -> dict[str, Row]:
        return {}

    async def enqueue(self, rows: Sequence[Enqueue], _: float = 0.0) -> Done:
        won = self.won(rows)
        self.enqueued += [row for row in rows if row.id in won]
        return Done(won, [])

    async def claim(self, seats: int, *given: Any, **_: Any) -> Claim:
        self.claims.append(list(given[2]))
        self.taken_early += [[row.id for row in given[3]]] if given[3] else []
        self.fail()
        await self.may_claim.wait()
        return Claim(str(uuid4()), self.jobs(seats, given[2]), self.ready_at, asyncio.get_running_loop().time())

    async def record(self, batch: Sequence[Settlement]) -> Done:
        await self.may_record.wait()
        self.recording(batch)
        self.recorded += batch
        return Done([], [])

    async def rescue(self, _: float) -> Row:
        self.rescues += 1
        self.fail()
        found = {"rescued": self.rescued, "expired": 0, "refused": None, "next_expiry_at": self.next_expiry_at}
        return {**found, "hand_overs": self.hand_overs}

    async def take_probes(self, _: int) -> tuple[list[Row], datetime | None]:
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

    async def take_withdrawn(self) -> list[Row]:
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


def claimed(store: Any, connection: str = "shop", **columns: Any) -> Row:
    """A job as a claim tells of it: due, and nothing paces it."""
    now = store.clock.now() - timedelta(seconds=1)
    return {
        "id": str(uuid4()), "scheduled_message_id": str(uuid4()), "connection_id": connection, "owner_id": None,
        "gateway": "waha", "sender": None, "recipient": "+919876500000", "type": "text", "message": "Hello",
        "media_url": None, "caption": None, "media": None, "asset_id": None, "attempts": 1, "throttled": 0,
        "api_key": None, "lease_left": 60, "scheduled_at": now.isoformat(), "send_at": now.isoformat(),
        "send_until": None, **columns,
    }  # fmt: skip


def due(store: Any, seconds: float = 0.0, **columns: Any) -> Row:
    """A row of scheduled_messages that falls due in so many seconds."""
    return {
        "id": str(uuid4()), "revision": 0, "owner_id": None, "connection_id": "shop", "contact_id": "+919876500000",
        "type": "text", "message": "Hello", "media_url": None, "caption": None, "media": None, "asset_id": None,
        "scheduled_at": (store.clock.now() + timedelta(seconds=seconds)).isoformat(), "is_recurring": False,
        "recurrence_pattern": None, "recurrence_end_at": None, "timezone": None, "series_anchor": None,
        "occurrence_at": None, "next_id": None, **columns,
    }  # fmt: skip


def parts(store: ToldStore, gateway: ToldGateway, **overrides: object) -> Any:
    """A daemon's loops on these, not running."""
    these, metrics = settings(**overrides), Metrics()
    vitals = Vitals(these.poll_interval_seconds)
    as_store: Any = store
    as_gateways: Any = gateway
    sender = Sender(as_gateways, store.clock, these)
    dispatcher = Dispatcher(as_store, sender, these, metrics, vitals)
    scheduler = Scheduler(as_store, dispatcher, these, metrics, vitals)
    rescue = Rescue(as_store, as_gateways, these, metrics, vitals)
    probe = Probe(as_store, as_gateways, dispatcher, vitals)
    loops = {"dispatcher": dispatcher, "scheduler": scheduler, "rescue": rescue, "probe": probe}
    return SimpleNamespace(sender=sender, vitals=vitals, **loops)
