"""Decides what becomes of a due row: whom it goes to or why it fails, and when its series goes on. Pure."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from functools import lru_cache
from uuid import uuid4

from worker.config import Settings
from worker.errors import BadMessage
from worker.jobs import Decision, Due, Known, Series, Written
from worker.kinds import kind_of
from worker.planning import content, recipient
from worker.planning.links import Links
from worker.recurrence import series as recurrence
from worker.text.characters import is_blank
from worker.text.wire import encoded
from worker.values import value

NOBODY_SAYS = Known()  # of a row without a contact, settings or a fault


@value(frozen=True, slots=True)
class Step:
    """Where a series stands. `missed` occurrences were passed over in favour of `occurrence`. Times are UTC."""

    timezone: str | None = None
    anchor: datetime | None = None
    occurrence: datetime | None = None
    missed: int = 0
    next_at: datetime | None = None
    next_after: datetime | None = None


def decide(due: Due, known: Known | None, settings: Settings, now: datetime) -> Decision:
    """`known` is what look_up_recipients says of the row, `now` the database's clock.

    A row that is planned ahead is planned for the instant at which it falls due.
    """
    known = known or NOBODY_SAYS
    step, fault, address, expires_at = Step(), None, None, None
    try:
        refuse_unreadable(due)
        step = next_step(due, known, settings, max(now, due.scheduled_at))
        address = check(due, known, settings)
        refuse_lateness(due, step, settings, now)
        expires_at = expiry(due, step, settings)
    except BadMessage as e:
        fault = str(e)
    return Decision(
        id=due.id,
        revision=due.revision,
        job_id=new_job_id(),
        recipient=address,
        error=fault,
        timezone=step.timezone,
        anchor=step.anchor,
        occurrence=step.occurrence,
        missed=step.missed,
        next_at=step.next_at,
        next_after=step.next_after,
        expires_at=expires_at,
        phone=known.phone_number if address and not recipient.is_direct(due.contact_id) else None,
    )


def new_job_id() -> str:
    """One that nobody can guess and take first. A job is made once all the same, since its row is pending once."""
    return str(uuid4())


def failed(decision: Decision, error: str) -> Decision:
    """The same row, failing and taking its series no further."""
    return Decision(decision.id, decision.revision, decision.job_id, error=error)


def refuse_unreadable(due: Due) -> None:
    if due.fault:
        raise BadMessage(due.fault)


def check(due: Due, known: Known, settings: Settings) -> str:
    """The recipient's address. Raises BadMessage for a row that can never be sent as it stands."""
    gateway = known.gateway or settings.gateway
    read(due.written, gateway, settings)
    if not known.connection_exists:
        raise BadMessage("The WhatsApp connection of this message does not exist any more. Choose another one.")
    if known.is_blocked and not recipient.is_direct(due.contact_id):
        raise BadMessage("This contact is blocked. Unblock the contact to write to it.")
    region = known.country_code or settings.default_country_code
    address = recipient.address(due.contact_id, known.phone_number, region)
    recipient.refuse_foreign(address, gateway)
    return address


def read(written: Written, gateway: str | None, settings: Settings) -> content.Content:
    """What is to be sent through this gateway. Raises BadMessage."""
    found = content.content_of(written, gateway, links(gateway, settings))
    if found.template or found.media:  # the column `media` holds whatever somebody calls JSON
        encoded(asdict(found))
    return found


def links(gateway: str | None, settings: Settings) -> Links:
    """Which links may be passed on to this gateway."""
    return _links(settings.allow_http_media, kind_of(gateway).fetches_links, settings.trusted_media_hosts)


@lru_cache(maxsize=16)
def _links(allow_http: bool, we_fetch: bool, trusted: str) -> Links:
    return Links(allow_http, we_fetch, frozenset(host.strip().lower() for host in trusted.split(",") if host.strip()))


def next_step(due: Due, known: Known, settings: Settings, now: datetime) -> Step:
    """Where the row's series stands. Raises BadMessage."""
    if due.series is None:
        return Step()
    zones = (due.series.timezone, known.timezone, settings.default_timezone)
    return step_of(due.series, due.scheduled_at, zones, now)


def step_of(series: Series, scheduled_at: datetime, zones: Sequence[str | None], now: datetime) -> Step:
    """Coalesces what was missed into the latest occurrence and finds the one after it. Raises BadMessage.

    zones: the first that is named counts.
    """
    zone = recurrence.timezone(next(name for name in zones if name and not is_blank(name)))
    rule = recurrence.parse(series.recurrence_pattern or "")
    anchor = series.series_anchor or recurrence.local_anchor(scheduled_at, zone)
    start = series.occurrence_at or scheduled_at
    end = min(recurrence.LAST_MOMENT, series.recurrence_end_at or recurrence.LAST_MOMENT)
    if series.next_id:  # a retry: the series has gone on without it
        return Step(zone.key, anchor, start, 0, recurrence.next_occurrence(rule, anchor, zone, start, end))
    latest, missed = recurrence.missed(rule, anchor, zone, start, now, end)
    next_at = recurrence.next_occurrence(rule, anchor, zone, max(now, start), end)
    next_after = next_at and recurrence.next_occurrence(rule, anchor, zone, next_at, end)
    return Step(zone.key, anchor, latest or start, missed, next_at, next_after)


def refuse_lateness(due: Due, step: Step, settings: Settings, now: datetime) -> None:
    """Raises BadMessage for a message later than MAX_LATENESS_SECONDS, or than its own `not_after`."""
    useful_until = not_after(due, step)
    if useful_until and now > useful_until:
        raise BadMessage(f"Not sent: it would have come {spell(now - useful_until)} after it was of any use.")
    expires_at = expiry(due, step, settings)
    if expires_at and now > expires_at:
        raise BadMessage(too_late(now - expires_at + timedelta(seconds=settings.max_lateness_seconds), settings))


def too_late(late: timedelta, settings: Settings) -> str:
    limit = spell(timedelta(seconds=settings.max_lateness_seconds))
    return f"Not sent: it was {spell(late)} late, and messages later than {limit} are not sent any more."


def expiry(due: Due, step: Step, settings: Settings) -> datetime | None:
    """Until when its job may wait."""
    useful_until = not_after(due, step)
    if not settings.max_lateness_seconds:
        return useful_until
    latest = counted(due, step) + timedelta(seconds=settings.max_lateness_seconds)
    return min(latest, useful_until) if useful_until else latest


def counted(due: Due, step: Step) -> datetime:
    """The instant that counts: the latest one's, where occurrences were missed."""
    return step.occurrence if step.missed and step.occurrence else due.scheduled_at


def not_after(due: Due, step: Step) -> datetime | None:
    """After which the message is of no use: as long after the latest occurrence as it was after the missed one."""
    return due.not_after and due.not_after + (counted(due, step) - due.scheduled_at)


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
