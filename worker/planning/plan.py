"""Decides what becomes of a due row: whom it goes to or why it fails, and when its series goes on. Pure."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any
from uuid import uuid4

from worker.config import Settings
from worker.errors import BadMessage
from worker.kinds import kind_of
from worker.planning import content, recipient
from worker.planning.links import Links
from worker.recurrence import series as recurrence
from worker.recurrence.times import parse_time
from worker.store.calls import Enqueue
from worker.text.characters import is_blank
from worker.text.wire import encoded

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Step:
    """Where a series stands. `missed` occurrences were passed over in favour of `occurrence`. Times are UTC."""

    timezone: str | None = None
    anchor: datetime | None = None
    occurrence: datetime | None = None
    missed: int = 0
    next_at: datetime | None = None
    next_after: datetime | None = None


def plan(row: Row, known: Row | None, settings: Settings, now: datetime) -> Enqueue:
    """`row` is a row of scheduled_messages, `known` what look_up_recipients says of it, `now` the database's clock.

    A row that is planned ahead is planned for the instant at which it falls due.
    """
    step, fault, address, expires_at = Step(), None, None, None
    try:
        step = next_step(row, known, settings, max(now, parse_time(row["scheduled_at"])))
        address = check(row, known or {}, settings)
        refuse_lateness(row, step, settings, now)
        expires_at = expiry((step.missed and step.occurrence) or row["scheduled_at"], settings)
    except BadMessage as e:
        fault = str(e)
    return Enqueue(
        id=row["id"],
        revision=row["revision"],
        job_id=new_job_id(),
        recipient=address,
        error=fault,
        timezone=step.timezone,
        anchor=iso(step.anchor),
        occurrence=iso(step.occurrence),
        missed=step.missed,
        next_at=iso(step.next_at),
        next_after=iso(step.next_after),
        expires_at=iso(expires_at),
        phone=(known or {}).get("phone_number") if address and not recipient.is_direct(row["contact_id"]) else None,
    )


def new_job_id() -> str:
    """One that nobody can guess and take first. A job is made once all the same, since its row is pending once."""
    return str(uuid4())


def failed(planned: Enqueue, error: str) -> Enqueue:
    """The same row, failing and taking its series no further."""
    return Enqueue(planned.id, planned.revision, planned.job_id, error=error)


def check(row: Row, known: Row, settings: Settings) -> str:
    """The recipient's address. Raises BadMessage for a row that can never be sent as it stands."""
    gateway = known.get("gateway") or settings.gateway
    read(row, gateway, settings)
    if known.get("connection_exists") is False:
        raise BadMessage("The WhatsApp connection of this message does not exist any more. Choose another one.")
    if known.get("is_blocked") and not recipient.is_direct(row["contact_id"]):
        raise BadMessage("This contact is blocked. Unblock the contact to write to it.")
    region = known.get("country_code") or settings.default_country_code
    address = recipient.address(row["contact_id"], known.get("phone_number"), region)
    recipient.refuse_foreign(address, gateway)
    return address


def read(row: Row, gateway: str | None, settings: Settings) -> content.Content:
    """What is to be sent through this gateway. Raises BadMessage."""
    found = content.content(row, gateway, links(gateway, settings))
    if found.template or found.media:  # the column `media` holds whatever somebody calls JSON
        encoded(asdict(found))
    return found


def links(gateway: str | None, settings: Settings) -> Links:
    """Which links may be passed on to this gateway."""
    return _links(settings.allow_http_media, kind_of(gateway).fetches_links, settings.trusted_media_hosts)


@lru_cache(maxsize=16)
def _links(allow_http: bool, we_fetch: bool, trusted: str) -> Links:
    return Links(allow_http, we_fetch, frozenset(host.strip().lower() for host in trusted.split(",") if host.strip()))


def next_step(row: Row, known: Row | None, settings: Settings, now: datetime) -> Step:
    """Coalesces what was missed into the latest occurrence and finds the one after it. Raises BadMessage."""
    if not row["is_recurring"]:  # it needs neither a zone nor a pattern, whatever stands there
        return Step()
    written = (row["timezone"], (known or {}).get("timezone"), settings.default_timezone)
    zone = recurrence.timezone(next(name for name in written if name and not is_blank(name)))
    rule = recurrence.parse(row["recurrence_pattern"] or "")
    scheduled = parse_time(row["scheduled_at"])
    anchor = (
        datetime.fromisoformat(row["series_anchor"])
        if row["series_anchor"]
        else recurrence.local_anchor(scheduled, zone)
    )
    start = parse_time(row["occurrence_at"]) if row["occurrence_at"] else scheduled
    end = recurrence.LAST_MOMENT
    if row["recurrence_end_at"]:
        end = min(end, parse_time(row["recurrence_end_at"]))
    if row["next_id"]:  # a retry: the series has gone on without it
        return Step(zone.key, anchor, start, 0, recurrence.next_occurrence(rule, anchor, zone, start, end))
    latest, missed = recurrence.missed(rule, anchor, zone, start, now, end)
    next_at = recurrence.next_occurrence(rule, anchor, zone, max(now, start), end)
    next_after = next_at and recurrence.next_occurrence(rule, anchor, zone, next_at, end)
    return Step(zone.key, anchor, latest or start, missed, next_at, next_after)


def refuse_lateness(row: Row, step: Step, settings: Settings, now: datetime) -> None:
    """Raises BadMessage for a message that is later than MAX_LATENESS_SECONDS."""
    due = step.occurrence if step.missed and step.occurrence else row["scheduled_at"]
    expires_at = expiry(due, settings)
    if expires_at and now > expires_at:
        late = now - expires_at + timedelta(seconds=settings.max_lateness_seconds)
        limit = timedelta(seconds=settings.max_lateness_seconds)
        raise BadMessage(
            f"Not sent: it was {spell(late)} late, and messages later than {spell(limit)} are not sent any more."
        )


def expiry(due: datetime | str, settings: Settings) -> datetime | None:
    if not settings.max_lateness_seconds:
        return None
    return (parse_time(due) if isinstance(due, str) else due) + timedelta(seconds=settings.max_lateness_seconds)


def spell(duration: timedelta) -> str:
    """A duration as a person would say it: its two largest units."""
    seconds = int(duration.total_seconds())
    units = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))
    parts = []
    for unit, size in units:
        count, seconds = divmod(seconds, size)
        if count:
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2]) or "0 s"


def iso(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None
