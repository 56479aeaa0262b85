"""Sends one claimed job through its gateway, on its slot, or hands it back untouched."""

import asyncio
import math
import time
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from typing import Any, NamedTuple
from weakref import WeakValueDictionary

import structlog

from worker.config import Settings
from worker.errors import BadMessage, ConfigError, Shortage
from worker.gateway import Gateway, Gateways, sender_of
from worker.kinds import kind_of
from worker.models import Message, Outcome, Rejected, Stopped, Unconfirmed
from worker.planning import plan
from worker.planning.recipient import mask, refuse_foreign
from worker.planning.resolver import Resolver
from worker.recurrence.times import parse_time
from worker.sending import result
from worker.store.calls import Claim, Settlement
from worker.store.clock import Clock
from worker.waiting import wait_for
from worker.watch.shortage import is_shortage

log = structlog.get_logger()

STOPPED_SECONDS = 1  # how soon a stop is written down: what is claimed later was claimed because the connection is back
SHORTAGE_SECONDS = 1.0  # until a message is tried again that lacked a descriptor
SERIAL = 4  # of a connection that takes one message at a time: the next are at hand, the other seats are for others


class Job(NamedTuple):
    """A claimed job. `claimed_at` and `lease_ends` are monotonic; `row` is what the claim returned."""

    id: str
    token: str
    row: dict[str, Any]
    due: datetime
    claimed_at: float
    lease_ends: float

    @property
    def connection(self) -> str:
        return str(self.row["connection_id"])

    @property
    def payer(self) -> str:
        """As in private.connection_state."""
        return str(self.row["owner_id"] or self.row["connection_id"])

    @classmethod
    def of(cls, row: dict[str, Any], claim: Claim) -> "Job":
        lease_ends = claim.asked_at + float(row["lease_left"])
        return cls(row["id"], claim.token, row, parse_time(row["scheduled_at"]), claim.asked_at, lease_ends)


class Sender:
    """Any number of jobs at a time, but for gateways that take one message after the other from a sender."""

    def __init__(self, gateways: Gateways, clock: Clock, settings: Settings) -> None:
        self.gateways, self.clock, self.settings = gateways, clock, settings
        self.resolver = Resolver()
        self.on_stopped: Callable[[], None] = lambda: None
        self.stop = asyncio.Event()
        self.in_flight: Counter[str] = Counter()  # by connection
        self.paid_for: Counter[str] = Counter()  # the same by payer
        self._serial: set[str] = set()  # connections in flight that take one message at a time, and not on slots
        self._dialled: set[str] = set()  # ids of jobs that a gateway may know of
        # By gateway and sender, which several connections may share; gone when nobody waits for it.
        self._turns: WeakValueDictionary[tuple[str, str], asyncio.Lock] = WeakValueDictionary()
        self._stopped: dict[str, float] = {}  # connections that a gateway stopped, and when

    def busy(self) -> list[str]:
        """The connections and payers that must leave the seats to others."""
        busy = [connection for connection in self.in_flight if self.is_busy(connection)]
        return busy + [payer for payer in self.paid_for if self.is_busy_payer(payer)]

    def is_busy(self, connection: str) -> bool:
        """Whether it must leave the seats to others: a slow gateway would take them all."""
        share = max(1, self.settings.concurrency - self.settings.concurrency // 4)
        return self.in_flight[connection] >= (min(share, SERIAL) if connection in self._serial else share)

    def is_busy_payer(self, payer: str) -> bool:
        """The same of somebody with several connections: one seat in ten is for others."""
        return self.paid_for[payer] >= max(1, self.settings.concurrency - max(1, self.settings.concurrency // 10))

    async def send(self, job: Job) -> Settlement:
        """What became of it, also when we are cancelled or a gateway fails us."""
        self.in_flight[job.connection] += 1
        self.paid_for[job.payer] += 1
        if kind_of(job.row["gateway"]).one_at_a_time and self.clock.until(parse_time(job.row["send_at"])) <= 0:
            self._serial.add(job.connection)
        try:
            return await self._attempt(job)
        except asyncio.CancelledError:
            return self._interrupted(job)
        except Exception as fault:
            return self._raised(job, fault)
        finally:
            self._leave(job)

    def _interrupted(self, job: Job) -> Settlement:
        """What waited for its turn was not dialled."""
        if job.id in self._dialled:
            return self._settle(job, Unconfirmed("the worker was stopped before the gateway answered."))
        return released(job)

    def _raised(self, job: Job, fault: Exception) -> Settlement:
        """Instead of an answer. What was not dialled did not go out, and what this machine lacks is nobody's fault."""
        if isinstance(fault, Shortage) or (is_shortage(fault) and job.id not in self._dialled):
            log.error("a message waits for what this machine lacks", job=job.id, reason=str(fault))
            return Settlement(job.id, job.token, "released", wait=SHORTAGE_SECONDS)
        log.exception("a gateway raised instead of answering", gateway=job.row["gateway"], job=job.id)
        if job.id not in self._dialled:
            return self._settle(job, Rejected("This message could not be prepared. The operator's log says why."))
        return self._settle(job, Unconfirmed("the worker failed while it was sending; its log says how."))

    def _leave(self, job: Job) -> None:
        self._dialled.discard(job.id)
        self.in_flight[job.connection] -= 1
        self.paid_for[job.payer] -= 1
        if not self.paid_for[job.payer]:
            del self.paid_for[job.payer]
        if not self.in_flight[job.connection]:
            del self.in_flight[job.connection]
            self._serial.discard(job.connection)

    async def _attempt(self, job: Job) -> Settlement:
        try:
            gateway = self.gateways.of(job.row["gateway"])
            message = to_message(job.row, self.settings)
            await self._judge_links(message, gateway.name)
        except BadMessage as e:
            return self._settle(job, Rejected(str(e)))
        except ConfigError as e:
            return self._settle(job, Stopped(str(e)))
        if not kind_of(gateway.name).one_at_a_time:
            return await self._dial(job, gateway, message)
        async with self._turns.setdefault((gateway.name, message.sender), asyncio.Lock()):
            return await self._dial(job, gateway, message)

    async def _judge_links(self, message: Message, gateway: str) -> None:
        """Raises BadMessage where the name in a link leads into our network, from which the gateway would fetch it."""
        links = plan.links(gateway, self.settings)
        if links.we_fetch and message.media:
            files = (message.media, *message.more)
            await self.resolver.refuse_inside([file.url for file in files if file.url], links)

    async def _dial(self, job: Job, gateway: Gateway, message: Message) -> Settlement:
        """Sends it on its slot, or hands it back untouched when that can no longer be."""
        wait = self.clock.until(parse_time(job.row["send_at"]))
        if not job.row["send_until"]:  # nothing paces it: it goes when its instant has come for certain, never early
            wait += self.clock.uncertainty
        if (wait > 0 and await wait_for(self.stop, wait)) or not self._may_dial(job, gateway):
            return released(job)
        self._dialled.add(job.id)
        outcome = await gateway.send(message)
        if isinstance(outcome, Stopped):
            self._stopped[job.connection] = time.monotonic()
            self.on_stopped()
        return self._settle(job, outcome)

    def _may_dial(self, job: Job, gateway: Gateway) -> bool:
        """Not what was claimed before its connection stopped, nor what has missed its slot and would crowd the next."""
        if self.stop.is_set() or time.monotonic() + gateway.timeout > job.lease_ends:
            return False
        if job.claimed_at < self._stopped.get(job.connection, -math.inf) + STOPPED_SECONDS:
            return False
        until = job.row["send_until"]
        return until is None or self.clock.until(parse_time(until)) > 0

    def _settle(self, job: Job, outcome: Outcome) -> Settlement:
        settlement = result.settle(job.id, job.token, job.row["attempts"], outcome, self.settings, self.clock.now())
        settlement.line = {
            "event": settlement.outcome,
            "message": job.row["scheduled_message_id"],
            "connection": job.connection,
            "to": mask(job.row["recipient"]),
            "late_ms": round(-self.clock.until(job.due) * 1000),
        }
        if settlement.error:
            settlement.line["reason"] = settlement.error
        return settlement


def released(job: Job) -> Settlement:
    """It was not dialled: it goes back as it was."""
    return Settlement(job.id, job.token, "released", wait=0)


def to_message(row: dict[str, Any], settings: Settings) -> Message:
    """A claimed row as the gateways want it. Raises BadMessage."""
    what = plan.read(row, row["gateway"], settings)
    refuse_foreign(row["recipient"], row["gateway"])  # the connection may have got another gateway since
    return Message(
        job_id=row["id"],
        connection_id=row["connection_id"],
        sender=sender_of(row["gateway"], row["sender"], row["connection_id"]),
        recipient=row["recipient"],
        kind=what.kind,
        text=what.text,
        media=what.media,
        template=what.template,
        asset_id=what.asset_id,
        attempt=row["attempts"],
        more=what.more,
        throttled=row["throttled"],
        scheduled_message_id=row["scheduled_message_id"],
        owner_id=row["owner_id"],
        api_key=row["api_key"],
    )
