"""What a person sees of `status`."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

from rich.console import Console
from rich.table import Table

from worker.operating.status import IN_QUEUE, Status
from worker.planning.plan import spell
from worker.recurrence.times import parse_time

TIMES = ("until", "send_at", "started_at")  # columns of the lists


def show(status: Status, console: Console) -> None:
    """The counts, then whatever needs an eye."""
    found, skew = status.found, status.skew
    console.print(table("Messages", ("status", "count"), status.counts.items()))
    console.print(f"due now: {found.due}", highlight=False)
    console.print(f"next due: {_when(found.next_due_at, status.now) or 'nothing'}", highlight=False)
    console.print(f"oldest overdue: {spell(timedelta(seconds=status.overdue)) if status.overdue else 'none'}")
    if abs(skew.total_seconds()) > 1:
        ahead = "ahead of" if skew.total_seconds() > 0 else "behind"
        console.print(f"this machine's clock is {spell(abs(skew))} {ahead} the database's (harmless)")
    if in_queue := status.counts[IN_QUEUE]:
        console.print(
            f"taken by the application's own scheduler (in_queue), not ours to send: {in_queue}; see `doctor`"
        )
    if found.stale_hand_overs:
        console.print(f"handed over and not finished in time: {found.stale_hand_overs}")
    for holder in status.holders:
        console.print(f"waiting for {holder.words}", highlight=False)
    for title, names, values in _lists(status):
        if values:
            rows = ([_shown(one, name, status.now) for name in names] for one in values)
            console.print(table(title, names, rows))


def _shown(value: object, name: str, now: datetime) -> Any:
    shown = getattr(value, name)
    return _when(shown, now) if name in TIMES else shown


def _when(text: str | None, now: datetime) -> str:
    return when(parse_time(text), now) if text else ""


def _lists(status: Status) -> Iterator[tuple[str, tuple[str, ...], Sequence[object]]]:
    yield "Waiting", ("connection_id", "reason", "number", "until"), status.found.waiting
    yield "Connections that may not send", ("connection_id", "state", "until"), status.found.connections
    yield (
        "Campaigns under way (settle what is unconfirmed with `resolve --run ID sent|failed|resend`)",
        ("id", "name", "connection_id", "status", "started_at", "total", "sent", "pending", "failed", "unconfirmed"),
        status.runs,
    )
    yield (
        "Unconfirmed (settle with `resolve ID sent|failed|resend`)",
        ("id", "connection_id", "gateway", "attempts", "send_at", "error"),
        status.found.unconfirmed,
    )
    yield (
        "Refused by the database, which has a rule against it (tried again by itself)",
        ("id", "step", "reason", "tries", "again_at"),
        status.found.refused,
    )


def when(moment: datetime, now: datetime) -> str:
    """On the reader's own clock, and how far from `now` it is."""
    distance = moment - now
    far = f"in {spell(distance)}" if distance > timedelta() else f"{spell(-distance)} ago"
    return f"{moment.astimezone():%Y-%m-%d %H:%M:%S %Z} ({far})"


def table(title: str, names: tuple[str, ...], rows: Iterable[Iterable[Any]]) -> Table:
    """A plain table."""
    made = Table(title=title, title_justify="left")
    for name in names:
        made.add_column(name, no_wrap=name == "id", overflow="fold")  # an id is copied
    for row in rows:
        made.add_row(*("" if value is None else str(value) for value in row))
    return made
