"""What an operator is told of the state of things: by `status`, and by the page on HTTP_PORT."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from worker.recurrence.times import parse_time
from worker.store.answers import Holder, Overview
from worker.store.campaigns import RunUnderWay

IN_QUEUE = "in_queue"  # the upstream application's own
ORDER = ("pending", "processing", "sent", "failed", "unconfirmed", "cancelled", IN_QUEUE)


@dataclass(frozen=True, slots=True)
class Status:
    """What the database said at a look, and this machine's clock against the database's. runs: of campaigns."""

    found: Overview
    skew: timedelta
    runs: Sequence[RunUnderWay] = ()
    holders: Sequence[Holder] = ()

    def as_facts(self) -> dict[str, Any]:
        """For programs: everything, times as the API gives them, seconds for durations."""
        return {
            "counts": self.counts,
            "due": self.found.due,
            "now": self.found.db_now,
            "next_due_at": self.found.next_due_at,
            "oldest_overdue_at": self.found.oldest_overdue_at,
            "oldest_overdue_seconds": self.overdue,
            "waiting": _plain(self.found.waiting),
            "connections": _plain(self.found.connections),
            "runs": _plain(self.runs),
            "unconfirmed": _plain(self.found.unconfirmed),
            "stale_hand_overs": self.found.stale_hand_overs,
            "refused": _plain(self.found.refused),
            "held": _plain(self.holders),
            "clock_skew_seconds": round(self.skew.total_seconds(), 3),
        }

    @property
    def counts(self) -> dict[str, int]:
        return {name: self.found.counts.get(name, 0) for name in ORDER}

    @property
    def overdue(self) -> float:
        """Seconds by which the oldest due message is late; 0 when none is."""
        if not self.found.oldest_overdue_at:
            return 0.0
        return max(0.0, (self.now - parse_time(self.found.oldest_overdue_at)).total_seconds())

    @property
    def now(self) -> datetime:
        """By the database's clock."""
        return parse_time(self.found.db_now)


def _plain(values: Iterable[Any]) -> list[dict[str, Any]]:
    return [asdict(value) for value in values]
