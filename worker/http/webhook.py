"""Webhooks of the WhatsApp Cloud API: whose they are, what they say, and their way to the main loop.

Source: Meta's "Webhooks" pages (Cloud API). Deliveries repeat and come out of order; one that is not answered
with 200 comes again, for up to seven days.
"""

import asyncio
import hashlib
import hmac
import json
import re
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future
from contextlib import suppress
from datetime import UTC, datetime
from uuid import UUID

import structlog

from worker.models import DeliveryStatus, StatusUpdate, TemplateStatus

log = structlog.get_logger()

A_SIGNATURE = re.compile(r"sha256=[0-9a-f]{64}", re.ASCII)
PART = re.compile(r"([1-9]\d?)/([1-9]\d?)", re.ASCII)

Update = StatusUpdate | TemplateStatus

USABLE = ("APPROVED", "REINSTATED", "UNARCHIVED", "FLAGGED")  # flagged: at risk of being paused
NO_NEWS = ("LIMIT_EXCEEDED",)  # of the account

_STATUS: dict[object, DeliveryStatus] = {
    "sent": "sent",
    "delivered": "delivered",
    "read": "read",
    "played": "read",  # a voice message that was listened to
    "failed": "failed",
}


def is_signed(body: bytes, header: str, app_secret: str) -> bool:
    """Whether `header` (X-Hub-Signature-256) is the app secret's HMAC-SHA256 of the raw body."""
    digest = hmac.new(app_secret.encode(), body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(f"sha256={digest}".encode(), header.encode("utf-8", "replace"))


def is_token(given: str, verify_token: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "replace"), verify_token.encode())


def parse_updates(body: bytes) -> list[Update]:
    """Everything in the body that we keep and that can be read; [] where there is none, as in an incoming message.

    Raises ValueError when the body is not JSON.
    """
    try:
        payload = json.loads(body)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    return [
        update
        for entry in _dicts(payload, "entry")
        for change in _dicts(entry, "changes")
        for update in _updates(entry, change)
        if update
    ]


def _updates(entry: dict[str, object], change: dict[str, object]) -> Iterator[Update | None]:
    value = change.get("value")
    if change.get("field") == "message_template_status_update" and isinstance(value, dict):
        yield _template(_text(entry.get("id")), value)
    else:
        yield from map(_read, _dicts(value, "statuses"))


def _template(account_id: str, value: dict[str, object]) -> TemplateStatus | None:
    """Meta, "message_template_status_update". What leaves a template as usable as it was is no news."""
    event = _text(value.get("event")).upper()
    if event == "LOCKED":  # it cannot be edited; of a pause, or of its end, the title tells
        other = value.get("other_info")
        title = _text(other.get("title")).upper() if isinstance(other, dict) else ""
        event = "APPROVED" if title == "UNPAUSE" else "PAUSED" if "PAUSE" in title else ""
    name, language = _text(value.get("message_template_name")), _text(value.get("message_template_language"))
    if not (account_id and name and language and event) or event in NO_NEWS:
        return None
    reason = _text(value.get("reason"))
    status = "APPROVED" if event in USABLE else event
    return TemplateStatus(account_id, name, language, status, reason if reason not in ("", "NONE", "None") else None)


def _dicts(parent: object, key: str) -> Iterator[dict[str, object]]:
    found = parent.get(key) if isinstance(parent, dict) else None
    return (item for item in found if isinstance(item, dict)) if isinstance(found, list) else iter(())


def _read(status: dict[str, object]) -> StatusUpdate | None:
    kind = status.get("status")
    known = _STATUS.get(kind) if isinstance(kind, str) else None
    message_id = _text(status.get("id"))
    try:
        timestamp = datetime.fromtimestamp(int(str(status.get("timestamp"))), UTC)
    except (ValueError, OverflowError, OSError):
        return None
    if known is None or not message_id:
        return None
    error = _error(status) if known == "failed" else None
    job_id, part, parts = _whose(status.get("biz_opaque_callback_data"))
    return StatusUpdate(job_id, message_id, known, timestamp, error, part, parts)


def _whose(value: object) -> tuple[str | None, int | None, int | None]:
    """The job, and which of how many parts it is: as the gateway wrote it (worker/gateway/cloud.py)."""
    job_id, _, place = str(value).partition(":")
    found = PART.fullmatch(place)
    if place and not found:
        return None, None, None
    with suppress(ValueError):
        part, parts = (int(found[1]), int(found[2])) if found else (None, None)
        return str(UUID(job_id)), part, parts
    return None, None, None


def _error(status: dict[str, object]) -> str:
    first = next(_dicts(status, "errors"), {})
    data = first.get("error_data")
    details = data.get("details") if isinstance(data, dict) else None
    code, words = _text(first.get("code")), _text(details or first.get("title") or first.get("message"))
    return ": ".join(filter(None, (code, words))) or "WhatsApp gave no reason"


def _text(value: object) -> str:
    """At most 500 characters, and none that PostgreSQL refuses (NUL, lone surrogates)."""
    text = str(value) if isinstance(value, str | int) else ""
    return text[:500].replace("\0", "").encode("utf-8", "replace").decode()


class Inbox:
    """Brings updates from the HTTP thread to the main loop; many posts become one call.

    A post is answered with 200 only once its updates are stored, so none is lost with the process. Made on
    the main loop, where on_updates runs; if that raises, or takes more than `patience` seconds, Meta
    delivers again.
    """

    def __init__(
        self,
        on_updates: Callable[[list[Update]], Awaitable[None]],
        *,
        limit: int = 500,
        patience: float = 5.0,
    ) -> None:
        self._on_updates, self._limit, self._patience = on_updates, limit, patience
        self._loop = asyncio.get_running_loop()
        self._posts: asyncio.Queue[tuple[list[Update], Future[bool]]] = asyncio.Queue()

    async def deliver(self, updates: list[Update]) -> bool:
        """Called on the HTTP thread's loop. False: not stored (too many waiting, too slow, or refused)."""
        if self._posts.qsize() >= self._limit:
            return False
        stored: Future[bool] = Future()
        try:
            self._loop.call_soon_threadsafe(self._posts.put_nowait, (updates, stored))
            async with asyncio.timeout(self._patience):
                return await asyncio.wrap_future(stored)
        except (TimeoutError, RuntimeError):  # RuntimeError: the main loop is closed
            return False

    async def run(self, stop: asyncio.Event) -> None:
        """Stores what arrives until `stop` is set."""
        async with asyncio.TaskGroup() as group:
            pump = group.create_task(self._pump())
            await stop.wait()
            pump.cancel()

    async def _pump(self) -> None:
        while True:
            posts = [await self._posts.get()]
            while not self._posts.empty():
                posts.append(self._posts.get_nowait())
            # A post whose sender no longer waits will come again.
            await self._store([post for post in posts if post[1].set_running_or_notify_cancel()])

    async def _store(self, posts: list[tuple[list[Update], Future[bool]]]) -> None:
        updates = [update for post, _ in posts for update in post]
        stored = False
        try:
            async with asyncio.timeout(self._patience):
                await self._on_updates(updates)
            stored = True
        except Exception as error:
            log.warning(
                "status updates could not be stored; WhatsApp will deliver them again",
                action="webhook_not_stored",
                updates=len(updates),
                error=type(error).__name__,
            )
        finally:
            for _, answer in posts:
                answer.set_result(stored)
