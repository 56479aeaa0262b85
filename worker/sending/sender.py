"""Sends one claimed job through its gateway, on its slot, or hands it back untouched."""

import asyncio
import math
import time
from collections import Counter
from collections.abc import Callable
from weakref import WeakValueDictionary

import structlog

from worker.config import Settings
from worker.errors import BadMessage, ConfigError, Shortage
from worker.gateway import Gateway, Gateways, sender_of
from worker.jobs import Job, Order, Settlement
from worker.kinds import kind_of
from worker.models import Message, Outcome, Rejected, Stopped, Unconfirmed
from worker.planning import plan
from worker.planning.recipient import refuse_foreign
from worker.planning.resolver import Resolver
from worker.sending import result
from worker.sending.turn import Turn
from worker.store.clock import Clock
from worker.waiting import wait_for
from worker.watch.shortage import is_shortage

log = structlog.get_logger()

# Jobs claimed within this time after a stop are handed back; later ones were claimed after the connection resumed.
STOPPED_SECONDS = 1
SHORTAGE_SECONDS = 1.0  # until a message is tried again that lacked a descriptor
# A session sends one message at a time: at most so many are claimed for it, so that it does not fill the seats. The
# claim gives no more at once either (private.choose_jobs).
SERIAL = 4


class Sender:
    """Any number of jobs at a time, but for gateways that take one message after the other from a sender."""

    def __init__(
        self, gateways: Gateways, clock: Clock, settings: Settings, on_stopped: Callable[[], None] = lambda: None
    ) -> None:
        """on_stopped: is told when a gateway stops a connection."""
        self.gateways, self.clock, self.settings, self._on_stopped = gateways, clock, settings, on_stopped
        self.resolver = Resolver()
        self._halted = asyncio.Event()
        self.in_flight: Counter[str] = Counter()  # by connection
        self.paid_for: Counter[str] = Counter()  # the same by payer
        self._serial: set[str] = set()  # connections in flight that take one message at a time, and not on slots
        self._dialled: set[str] = set()  # ids of jobs that a gateway may know of
        # By gateway and sender, which several connections may share; gone when nobody waits for it.
        self._turns: WeakValueDictionary[tuple[str, str], Turn] = WeakValueDictionary()
        self._stopped: dict[str, float] = {}  # connections that a gateway stopped, and when

    def halt(self) -> None:
        """From now on nothing is dialled: what waits for its slot goes back."""
        self._halted.set()

    @property
    def is_halted(self) -> bool:
        return self._halted.is_set()

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
        self.in_flight[job.connection_id] += 1
        self.paid_for[job.payer] += 1
        if kind_of(job.gateway).one_at_a_time and self.clock.until(job.send_at) <= 0:
            self._serial.add(job.connection_id)
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
            return Settlement(job, "released", wait=SHORTAGE_SECONDS)
        log.exception("a gateway raised instead of answering", gateway=job.gateway, job=job.id)
        if job.id not in self._dialled:
            return self._settle(job, Rejected("This message could not be prepared. The operator's log says why."))
        return self._settle(job, Unconfirmed("the worker failed while it was sending; its log says how."))

    def _leave(self, job: Job) -> None:
        self._dialled.discard(job.id)
        self.in_flight[job.connection_id] -= 1
        self.paid_for[job.payer] -= 1
        if not self.paid_for[job.payer]:
            del self.paid_for[job.payer]
        if not self.in_flight[job.connection_id]:
            del self.in_flight[job.connection_id]
            self._serial.discard(job.connection_id)

    async def _attempt(self, job: Job) -> Settlement:
        try:
            gateway = self.gateways.of(job.gateway)
            message = to_message(job, self.settings)
            await self._judge_links(message, gateway.name)
        except BadMessage as e:
            return self._settle(job, Rejected(str(e)))
        except ConfigError as e:
            return self._settle(job, Stopped(str(e)))
        if not kind_of(gateway.name).one_at_a_time:
            return await self._dial(job, gateway, message)
        async with self._turns.setdefault((gateway.name, message.sender), Turn()).taken(job.priority):
            return await self._dial(job, gateway, message)

    async def _judge_links(self, message: Message, gateway: str) -> None:
        """Raises BadMessage where the name in a link leads into our network, from which the gateway would fetch it."""
        links = plan.links(gateway, self.settings)
        if links.we_fetch and message.media:
            files = (message.media, *message.more)
            await self.resolver.refuse_inside([file.url for file in files if file.url], links)

    async def _dial(self, job: Job, gateway: Gateway, message: Message) -> Settlement:
        """Sends it on its slot, or hands it back untouched when that can no longer be."""
        wait = self.clock.until(job.send_at)
        if job.send_until is None:  # nothing paces it: it goes when its instant has come for certain, never early
            wait += self.clock.uncertainty
        if (wait > 0 and await wait_for(self._halted, wait)) or not self._may_dial(job, gateway):
            return released(job)
        self._dialled.add(job.id)
        outcome = await gateway.send(message)
        if isinstance(outcome, Stopped):
            self._stopped[job.connection_id] = time.monotonic()
            self._on_stopped()
        return self._settle(job, outcome)

    def _may_dial(self, job: Job, gateway: Gateway) -> bool:
        """Not what was claimed before its connection stopped, nor what has missed its slot and would crowd the next."""
        if self.is_halted or time.monotonic() + gateway.timeout > job.lease_ends:
            return False
        if job.claimed_at < self._stopped.get(job.connection_id, -math.inf) + STOPPED_SECONDS:
            return False
        return job.send_until is None or self.clock.until(job.send_until) > 0

    def _settle(self, job: Job, outcome: Outcome) -> Settlement:
        return result.settle(job, outcome, self.settings, self.clock.now())


def released(job: Job) -> Settlement:
    """It was not dialled: it goes back as it was."""
    return Settlement(job, "released", wait=0)


def to_message(order: Order, settings: Settings) -> Message:
    """As the gateways want it. Raises BadMessage."""
    content = plan.read(order.written, order.gateway, settings)
    refuse_foreign(order.recipient, order.gateway)  # the connection may have got another gateway since
    return Message(
        job_id=order.id,
        connection_id=order.connection_id,
        sender=sender_of(order.gateway, order.sender, order.connection_id),
        recipient=order.recipient,
        kind=content.kind,
        text=content.text,
        media=content.media,
        template=content.template,
        asset_id=content.asset_id,
        attempt=order.attempts,
        more=content.more,
        throttled=order.throttled,
        scheduled_message_id=order.scheduled_message_id,
        owner_id=order.owner_id,
        api_key=order.api_key,
    )
