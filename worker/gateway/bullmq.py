"""Hands jobs to the Node broadcast worker through its BullMQ queue on Redis.

Adding the same job id again is harmless while the job waits, runs or is kept: what may have been lost is added again.
"""

import asyncio
import contextlib
from typing import Any

from bullmq import Queue
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry as RedisRetry
from redis.backoff import ExponentialBackoff
from redis.exceptions import AuthenticationError, AuthorizationError, NoPermissionError, RedisError, ResponseError

from worker.config import Settings
from worker.errors import BadMessage
from worker.gateway.base import person
from worker.models import HandedOver, Health, Media, Message, Outcome, Rejected, Stopped, Unconfirmed
from worker.text.wire import encoded

TIMEOUT = 10.0  # seconds for one hand-over, reconnecting included
PRIORITY = 2  # ahead of the application's own broadcasts, as its scheduler sets it
# A finished job that Redis has forgotten would run once more if it were added again. The rescue adds nothing again
# later than a day after it was first added (private.rescue_rows), so twice that is enough. There is no `count` beside
# the age: a busy day could push a job out before its time.
KEPT = {"age": 2 * 86_400}  # seconds

NO_TEMPLATES = Rejected("The Node worker has no templates: write a text")
ONE_ATTACHMENT = Rejected("The Node worker sends one attachment with a message")

PHONE_NUMBER = "{{phone_number}}"
CREDENTIALS = (AuthenticationError, AuthorizationError, NoPermissionError)


class BullMQ:
    """timeout: seconds for a whole hand-over."""

    name = "bullmq"

    def __init__(
        self, url: str, *, queue: str, prefix: str, job: str, timeout: float = TIMEOUT, connections: int = 20
    ) -> None:
        self.timeout = timeout
        self.job = job
        # Of our own: the library's client would go on trying for minutes, and on one connection.
        pool = BlockingConnectionPool.from_url(
            url,
            max_connections=connections,
            timeout=timeout / 3,
            decode_responses=True,
            socket_connect_timeout=timeout / 3,
            socket_timeout=timeout / 3,
            retry=RedisRetry(ExponentialBackoff(cap=0.5, base=0.05), 2),
        )
        self.redis = Redis.from_pool(pool)
        self.queue = Queue(queue, {"connection": self.redis, "prefix": prefix})

    async def send(self, message: Message) -> Outcome:
        """Both rows of the job must be in the database already: the worker only updates them."""
        if message.kind == "template":
            return NO_TEMPLATES
        if message.more:
            return ONE_ATTACHMENT
        try:
            encoded(data(message))
        except BadMessage as fault:
            return Rejected(str(fault))
        reached = False
        try:
            async with asyncio.timeout(self.timeout):
                await self.redis.ping()  # what fails here was certainly not added, and its author may still cancel it
                reached = True
                await self.queue.add(self.job, data(message), options(message))
        except (RedisError, OSError) as fault:
            if reached and not isinstance(fault, ResponseError):
                return Unconfirmed(f"Redis did not answer ({type(fault).__name__})")
            return stopped(fault)
        return HandedOver()

    async def check(self, sender: str) -> Health:  # noqa: ARG002
        try:
            async with asyncio.timeout(self.timeout):
                memory = await self.redis.info("memory")
        except (RedisError, OSError) as fault:
            return Health(False, stopped(fault).reason)
        policy = memory.get("maxmemory_policy", "noeviction")
        lossy = "" if policy == "noeviction" else f"; maxmemory-policy {policy} may drop jobs, set noeviction"
        return Health(True, f"Redis answers{lossy}")

    async def withdraw(self, job_ids: list[str]) -> int:
        """Takes jobs out of the queue, but for those that a worker is at. How many are out of it for certain."""
        gone = 0
        with contextlib.suppress(RedisError, OSError):
            async with asyncio.timeout(self.timeout):
                for job_id in job_ids:
                    gone += bool(await self.queue.remove(job_id))
        return gone

    async def aclose(self) -> None:
        await self.redis.aclose()


def stopped(fault: Exception) -> Stopped:
    """Jobs wait in the table until a probe finds Redis well again; that costs them no attempt."""
    known = isinstance(fault, CREDENTIALS)
    reason = "Redis does not accept our credentials" if known else "Redis cannot be reached or refuses jobs"
    return Stopped(f"{reason} ({type(fault).__name__})")


def data(message: Message) -> dict[str, Any]:
    """What the worker reads: any type but `media` is a text to it, and of the file it reads `mediaUrl`."""
    media, attached = message.media, message.kind != "text"
    text, to = verbatim(message.text, contact(message.recipient))
    return {
        "contacts": [to],
        "message": text,
        "connectionId": message.connection_id,
        "apiKey": message.api_key,
        "type": "media" if attached else "text",
        "mediaUrl": media.url if media else None,
        "caption": text if attached else None,
        "media": [described(media)] if media and media.url else None,
        "dbJobId": message.job_id,
        "deduplicationId": f"scheduled_{message.scheduled_message_id}",
        "parentJobId": message.scheduled_message_id,
        "userId": message.owner_id,
        "ownerId": message.owner_id,
        "asset_id": message.asset_id,
    }


def described(media: Media) -> dict[str, str | None]:
    return {"url": media.url, "mimetype": media.mime_type, "filename": media.filename}


def contact(recipient: str) -> str:
    """Digits, by which the worker finds the recipient's row; a group or hidden id stays whole."""
    return person(recipient) or recipient


def verbatim(text: str, number: str) -> tuple[str, str | dict[str, str]]:
    """The text and the contact with which the worker sends the text as it was written.

    It replaces {{name}} by what the contact has of that name, once, and leaves the others (`replaceTemplateVars` of
    edivianika/wa-nexus, Server/src/broadcast/broadcastWorker.js). Of a bare number it makes a contact with a
    phone_number, so that placeholder alone would be filled; now it is filled with itself.
    """
    if PHONE_NUMBER not in text:
        return text, number
    return text.replace(PHONE_NUMBER, "{{as_written}}"), {"phone_number": number, "as_written": PHONE_NUMBER}


def options(message: Message) -> dict[str, Any]:
    return {"jobId": message.job_id, "priority": PRIORITY, "removeOnComplete": KEPT, "removeOnFail": False}


def build(settings: Settings) -> BullMQ:
    return BullMQ(
        settings.redis_url or "",
        queue=settings.bullmq_queue,
        prefix=settings.bullmq_prefix,
        job=settings.bullmq_job,
        timeout=min(TIMEOUT, settings.lease_seconds * 0.75),
        connections=settings.concurrency,
    )
