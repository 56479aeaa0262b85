"""What an operator sees: `status` and what is known of a message that was resolved by hand."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from rich.console import Console
from rich.table import Table

from worker.planning.plan import spell
from worker.recurrence.times import parse_time
from worker.store.calls import Row

TIMES = ("until", "send_at")  # columns of the lists
ORDER = ("pending", "processing", "sent", "failed", "unconfirmed", "cancelled", "in_queue")


@dataclass(frozen=True)
class Status:
    """What get_status and get_holders returned, and this machine's clock against the database's."""

    row: Row
    skew: timedelta
    holders: list[Row]

    def as_json(self) -> str:
        """For programs: everything, times as the API gives them, seconds for durations."""
        return json.dumps(
            {
                "counts": {name: (self.row["counts"] or {}).get(name, 0) for name in ORDER},
                "now": self.row["db_now"],
                "next_due_at": self.row["next_due_at"],
                "oldest_overdue_at": self.row["oldest_overdue_at"],
                "oldest_overdue_seconds": self.overdue,
                "waiting": self.row["waiting"] or [],
                "connections": self.row["connections"] or [],
                "unconfirmed": self.row["unconfirmed"] or [],
                "stale_hand_overs": self.row["stale_hand_overs"],
                "refused": self.row["refused"] or [],
                "held": self.holders,
                "clock_skew_seconds": round(self.skew.total_seconds(), 3),
            },
            indent=2,
        )

    @property
    def overdue(self) -> float:
        """Seconds by which the oldest due message is late; 0 when none is."""
        if not self.row["oldest_overdue_at"]:
            return 0.0
        return max(0.0, (parse_time(self.row["db_now"]) - parse_time(self.row["oldest_overdue_at"])).total_seconds())

    def print(self, console: Console) -> None:
        """For people."""
        counts = self.row["counts"] or {}
        console.print(table("Messages", ("status", "count"), ((name, counts.get(name, 0)) for name in ORDER)))
        console.print(f"next due: {self._when(self.row['next_due_at']) or 'nothing'}", highlight=False)
        console.print(f"oldest overdue: {spell(timedelta(seconds=self.overdue)) if self.overdue else 'none'}")
        if abs(self.skew.total_seconds()) > 1:
            ahead = "ahead of" if self.skew.total_seconds() > 0 else "behind"
            console.print(f"this machine's clock is {spell(abs(self.skew))} {ahead} the database's (harmless)")
        if in_queue := counts.get("in_queue"):
            console.print(
                f"taken by the application's own scheduler (in_queue), not ours to send: {in_queue}; see `doctor`"
            )
        if self.row["stale_hand_overs"]:
            console.print(f"handed over and not finished in time: {self.row['stale_hand_overs']}")
        for holder in self.holders:
            console.print(f"waiting for {holder['words']}", highlight=False)
        for title, names, rows in self._lists():
            if rows:
                console.print(table(title, names, ([self._shown(name, row[name]) for name in names] for row in rows)))

    def _shown(self, name: str, value: Any) -> Any:
        return self._when(value) if name in TIMES else value

    def _when(self, value: str | None) -> str:
        return when(value, parse_time(self.row["db_now"])) if value else ""

    def _lists(self) -> Iterator[tuple[str, tuple[str, ...], list[Row]]]:
        yield "Waiting", ("connection_id", "reason", "number", "until"), self.row["waiting"] or []
        yield "Connections that may not send", ("connection_id", "state", "until"), self.row["connections"] or []
        yield (
            "Unconfirmed (settle with `resolve ID sent|failed|resend`)",
            ("id", "connection_id", "gateway", "attempts", "send_at", "error"),
            self.row["unconfirmed"] or [],
        )
        yield (
            "Refused by the database, which has a rule against it (tried again by itself)",
            ("id", "step", "reason", "tries", "again_at"),
            self.row["refused"] or [],
        )


def when(text: str, now: datetime) -> str:
    """A time as the API gives it, on the reader's own clock, and how far from `now` it is."""
    moment = parse_time(text)
    distance = moment - now
    far = f"in {spell(distance)}" if distance > timedelta() else f"{spell(-distance)} ago"
    return f"{moment.astimezone():%Y-%m-%d %H:%M:%S %Z} ({far})"


def table(title: str, names: tuple[str, ...], rows: Iterator[Any]) -> Table:
    """A plain table."""
    made = Table(*names, title=title, title_justify="left")
    for row in rows:
        made.add_row(*("" if value is None else str(value) for value in row))
    return made
