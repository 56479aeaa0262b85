"""What an operator sees of `status`."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from rich.console import Console
from rich.table import Table

from worker.planning.plan import spell
from worker.recurrence.times import parse_time
from worker.store.answers import Holder, Overview

TIMES = ("until", "send_at")  # columns of the lists
IN_QUEUE = "in_queue"  # the upstream application's own
ORDER = ("pending", "processing", "sent", "failed", "unconfirmed", "cancelled", IN_QUEUE)


@dataclass(frozen=True, slots=True)
class Status:
    """What get_status and get_holders returned, and this machine's clock against the database's."""

    found: Overview
    skew: timedelta
    holders: Sequence[Holder]

    def as_json(self) -> str:
        """For programs: everything, times as the API gives them, seconds for durations."""
        return json.dumps(
            {
                "counts": self.counts,
                "now": self.found.db_now,
                "next_due_at": self.found.next_due_at,
                "oldest_overdue_at": self.found.oldest_overdue_at,
                "oldest_overdue_seconds": self.overdue,
                "waiting": _plain(self.found.waiting),
                "connections": _plain(self.found.connections),
                "unconfirmed": _plain(self.found.unconfirmed),
                "stale_hand_overs": self.found.stale_hand_overs,
                "refused": _plain(self.found.refused),
                "held": _plain(self.holders),
                "clock_skew_seconds": round(self.skew.total_seconds(), 3),
            },
            indent=2,
        )

    @property
    def counts(self) -> dict[str, int]:
        return {name: self.found.counts.get(name, 0) for name in ORDER}

    @property
    def overdue(self) -> float:
        """Seconds by which the oldest due message is late; 0 when none is."""
        if not self.found.oldest_overdue_at:
            return 0.0
        return max(0.0, (self._now - parse_time(self.found.oldest_overdue_at)).total_seconds())

    def print(self, console: Console) -> None:
        """For people."""
        console.print(table("Messages", ("status", "count"), self.counts.items()))
        console.print(f"next due: {self._when(self.found.next_due_at) or 'nothing'}", highlight=False)
        console.print(f"oldest overdue: {spell(timedelta(seconds=self.overdue)) if self.overdue else 'none'}")
        if abs(self.skew.total_seconds()) > 1:
            ahead = "ahead of" if self.skew.total_seconds() > 0 else "behind"
            console.print(f"this machine's clock is {spell(abs(self.skew))} {ahead} the database's (harmless)")
        if in_queue := self.counts[IN_QUEUE]:
            console.print(
                f"taken by the application's own scheduler (in_queue), not ours to send: {in_queue}; see `doctor`"
            )
        if self.found.stale_hand_overs:
            console.print(f"handed over and not finished in time: {self.found.stale_hand_overs}")
        for holder in self.holders:
            console.print(f"waiting for {holder.words}", highlight=False)
        for title, names, values in self._lists():
            if values:
                console.print(table(title, names, ([self._shown(one, name) for name in names] for one in values)))

    @property
    def _now(self) -> datetime:
        return parse_time(self.found.db_now)

    def _shown(self, value: object, name: str) -> Any:
        shown = getattr(value, name)
        return self._when(shown) if name in TIMES else shown

    def _when(self, text: str | None) -> str:
        return when(parse_time(text), self._now) if text else ""

    def _lists(self) -> Iterator[tuple[str, tuple[str, ...], Sequence[object]]]:
        yield "Waiting", ("connection_id", "reason", "number", "until"), self.found.waiting
        yield "Connections that may not send", ("connection_id", "state", "until"), self.found.connections
        yield (
            "Unconfirmed (settle with `resolve ID sent|failed|resend`)",
            ("id", "connection_id", "gateway", "attempts", "send_at", "error"),
            self.found.unconfirmed,
        )
        yield (
            "Refused by the database, which has a rule against it (tried again by itself)",
            ("id", "step", "reason", "tries", "again_at"),
            self.found.refused,
        )


def _plain(values: Iterable[Any]) -> list[dict[str, Any]]:
    return [asdict(value) for value in values]


def when(moment: datetime, now: datetime) -> str:
    """On the reader's own clock, and how far from `now` it is."""
    distance = moment - now
    far = f"in {spell(distance)}" if distance > timedelta() else f"{spell(-distance)} ago"
    return f"{moment.astimezone():%Y-%m-%d %H:%M:%S %Z} ({far})"


def table(title: str, names: tuple[str, ...], rows: Iterable[Iterable[Any]]) -> Table:
    """A plain table."""
    made = Table(*names, title=title, title_justify="left")
    for row in rows:
        made.add_row(*("" if value is None else str(value) for value in row))
    return made
