"""From the JSON that the database's functions answer to values, once.

The readers raise KeyError, TypeError, ValueError or BadMessage for what is somebody else's answer.
"""

import time
from collections.abc import Callable
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any, TypeVar, Unpack

from worker.errors import BadMessage, StoreError
from worker.jobs import Due, HandOver, Job, Known, Series, Written
from worker.recurrence.times import parse_time
from worker.store.answers import Agenda, Claim, Done, Holder, Rescued
from worker.store.api import Api, Row, Terms
from worker.store.refused import Refused

Answer = TypeVar("Answer")

# Stands for what is before the calendar begins, and for what cannot be read.
EARLIEST = datetime.min.replace(tzinfo=UTC)


class Calls:
    """Calls of the database's functions, each with what reads its answer.

    What cannot be read is somebody else's answer, of a proxy for one: as after any fault, the function is called again.
    """

    def __init__(self, api: Api) -> None:
        self._api = api

    async def row(
        self, name: str, arguments: Row | Callable[[], Row], read: Callable[[Row], Answer], **terms: Unpack[Terms]
    ) -> Answer:
        """What `read` makes of the one row of an answer, whose `db_now` sets the clock."""
        return await self.timed_row(name, arguments, lambda row, _: read(row), **terms)

    async def timed_row(
        self,
        name: str,
        arguments: Row | Callable[[], Row],
        read: Callable[[Row, float], Answer],
        **terms: Unpack[Terms],
    ) -> Answer:
        """The same for what depends on when it was asked for (monotonic seconds)."""

        def read_one(data: Any, asked_at: float) -> Answer:
            (row,) = listed(data)
            answer = read(row, asked_at)
            if "db_now" in row:
                self._api.clock.observe(parse_time(row["db_now"]), asked_at, self._api.answered_at)
            return answer

        return await self.call(name, arguments, read_one, **terms)

    async def rows(
        self, name: str, read: Callable[[Row], Answer], arguments: Row | None = None, select: str = "*"
    ) -> list[Answer]:
        """select: see Api.once."""
        return await self.call(name, arguments or {}, lambda data, _: [read(row) for row in listed(data)], select)

    async def value(self, name: str, kind: type[Answer], arguments: Row) -> Answer:
        """Of a function that returns one value."""
        return await self.call(name, arguments, lambda data, _: of(kind, data))

    async def call(
        self,
        name: str,
        arguments: Row | Callable[[], Row],
        read: Callable[[Any, float], Answer],
        select: str = "*",
        **terms: Unpack[Terms],
    ) -> Answer:
        """What `read` makes of the JSON, and of when it was asked for. Raises StoreRefused, StoreMisconfigured.

        arguments: what makes them anew for each try, where they depend on the time.
        terms: what is waited for, see Api.attempts.
        """
        async for attempt in self._api.attempts(name, **terms):
            with attempt:
                asked_at = time.monotonic()
                data = await self._api.once(name, arguments() if callable(arguments) else arguments, select)
                answer = understood(name, read, data, asked_at)
        return answer


def understood(call: str, read: Callable[[Any, float], Answer], data: Any, asked_at: float) -> Answer:
    """What `read` makes of an answer. Raises StoreError where that is not what this call returns."""
    try:
        return read(data, asked_at)
    except (LookupError, TypeError, ValueError, AttributeError, BadMessage) as e:
        raise StoreError(f"{call} was answered with something that is not what it returns") from e


def listed(data: Any) -> list[Any]:
    return of(list, data)


def of(kind: type[Answer], data: Any) -> Answer:
    if not isinstance(data, kind):
        raise TypeError
    return data


def due(row: Row) -> Due:
    """A row of scheduled_messages. One of whose times is none, such as the year 12026, has a `fault`."""
    scheduled_at, series, not_after, fault = EARLIEST, None, None, None
    try:
        scheduled_at = parse_time(row["scheduled_at"])
        not_after = _time(row["not_after"])
        series = _series(row) if row["is_recurring"] else None  # else it does not matter what stands there
    except BadMessage as e:
        fault = str(e)
    return Due(
        id=row["id"],
        revision=row["revision"],
        connection_id=row["connection_id"],
        owner_id=row["owner_id"],
        contact_id=row["contact_id"],
        scheduled_at=scheduled_at,
        written=written(row),
        priority=row["priority"] or 0,
        series=series,
        not_after=not_after,
        fault=fault,
    )


def _series(row: Row) -> Series:
    return Series(
        recurrence_pattern=row["recurrence_pattern"],
        recurrence_end_at=_time(row["recurrence_end_at"]),
        timezone=row["timezone"],
        series_anchor=_wall_time(row["series_anchor"]),
        occurrence_at=_time(row["occurrence_at"]),
        next_id=row["next_id"],
    )


def known(row: Row) -> Known:
    return Known(
        phone_number=row["phone_number"],
        is_blocked=bool(row["is_blocked"]),
        connection_exists=row["connection_exists"],
        timezone=row["timezone"],
        country_code=row["country_code"],
        gateway=row["gateway"],
    )


def all_known(row: Row) -> dict[str, Known]:
    return {one["id"]: known(one) for one in row["known"] or []}


def job(row: Row, token: str, asked_at: float) -> Job:
    return Job(
        **_order(row),
        token=token,
        scheduled_at=parse_time(row["scheduled_at"]),
        send_at=parse_time(row["send_at"]),
        send_until=instant_or_none(row["send_until"]),
        claimed_at=asked_at,
        lease_ends=asked_at + float(row["lease_left"]),
        priority=row["priority"] or 0,
        is_of_a_source=bool(row.get("is_of_a_source")),
    )


def hand_over(row: Row) -> HandOver:
    return HandOver(**_order(row))


def _order(row: Row) -> Row:
    return {
        "id": row["id"],
        "scheduled_message_id": row["scheduled_message_id"],
        "connection_id": row["connection_id"],
        "owner_id": row["owner_id"],
        "gateway": row["gateway"],
        "sender": row["sender"],
        "api_key": row["api_key"],
        "recipient": row["recipient"],
        "written": written(row),
        "attempts": row["attempts"],
        "throttled": row["throttled"],
    }


def agenda(row: Row) -> Agenda:
    return Agenda(
        upcoming=[due(one) for one in row["upcoming"] or []],
        stale_hand_overs=row["stale_hand_overs"],
        next_due_at=instant_or_none(row["next_due_at"]),
        next_ready_at=instant_or_none(row["next_ready_at"]),
        next_expiry_at=instant_or_none(row["next_expiry_at"]),
        next_probe_at=instant_or_none(row["next_probe_at"]),
        complete_until=instant_or_none(row["complete_until"]),
        holders=tuple(holder(one) for one in row["holders"] or []),
    )


def claim(row: Row, asked_at: float, token: str) -> Claim:
    return Claim(
        jobs=[job(one, token, asked_at) for one in row["jobs"] or []],
        next_ready_at=instant_or_none(row["next_ready_at"]),
        asked_at=asked_at,
        refused=refused(row.get("refused")),
    )


def done(ids: str) -> Callable[[Row], Done]:
    """Of a function that returns its ids under this name."""
    return lambda row: Done(row[ids] or [], refused(row["refused"]), instant_or_none(row.get("again_at")))


def rescued(row: Row) -> Rescued:
    return Rescued(
        rescued=row["rescued"],
        expired=row["expired"],
        refused=refused(row["refused"]),
        hand_overs=[hand_over(one) for one in row["hand_overs"] or []],
        next_expiry_at=instant_or_none(row["next_expiry_at"]),
    )


def refused(rows: list[Row] | None) -> list[Refused]:
    return [Refused(row["id"], row["code"], row["reason"], row.get("became", "put aside")) for row in rows or []]


def reading(kind: type[Answer]) -> Callable[[Row], Answer]:
    """Reads rows whose columns are the fields of this class, and need no other reading; what else they have is left."""
    names = [field.name for field in fields(kind)]  # type: ignore[arg-type]
    return lambda row: kind(*[row[name] for name in names])


written, holder = reading(Written), reading(Holder)


def _wall_time(text: str | None) -> datetime | None:
    try:
        return datetime.fromisoformat(text) if text else None
    except ValueError:
        raise BadMessage(f"not a time on the wall, between the years 1 and 9999: {str(text)[:40]!r}") from None


def _time(text: str | None) -> datetime | None:
    return parse_time(text) if text else None


def instant_or_none(text: str | None) -> datetime | None:
    """None for what never comes; what has been for ever is the first moment of the calendar."""
    if not text or text == "infinity":
        return None
    return EARLIEST if text == "-infinity" else parse_time(text)
