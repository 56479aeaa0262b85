"""What the loops say of themselves, read by other threads, so that it is told even when a loop is stuck."""

import time
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from worker.models import Health

PATIENCE = 3  # intervals without progress before it is a fault
LEAST = 60.0  # seconds: no interval is so short that one slow call would make a loop look stuck

# Whose beat it was, and how long it holds: each loop is a task, so each has its own.
_last: ContextVar[tuple[str, float | None] | None] = ContextVar("last", default=None)


@dataclass(frozen=True, slots=True)
class Beat:
    """One sign of life. `at`: the clock's seconds. `within`: the next must come within that many."""

    at: float
    within: float


@dataclass(frozen=True, slots=True)
class Hold:
    """A transaction of somebody's holds what we need. `seconds`: its age at the last look, 0 if nobody tells."""

    seconds: float
    words: str


@dataclass(slots=True)
class Vitals:
    """Plain attributes, each written by one loop. Seconds throughout; instants are the clock's (monotonic).

    store_trouble: why Supabase does not answer just now; "" when it does.
    oldest_overdue: how long the oldest due row had been waiting when the last poll was made.
    realtime: off, deaf or listening (sending/wake.py).
    holders: whom we waited for at the last look; a fault where that lasts, or makes messages late.
    """

    poll_interval: float
    clock: Callable[[], float] = time.monotonic
    last_poll: float = 0.0
    store_trouble: str = ""
    oldest_overdue: float = 0.0
    gateway: Health = field(default_factory=lambda: Health(ok=True))
    realtime: str = "off"
    holders: list[Hold] = field(default_factory=list)
    beats: dict[str, Beat] = field(default_factory=dict)
    began: float = 0.0

    def __post_init__(self) -> None:
        self.last_poll = self.began = self.clock()  # a fresh start has as long as anybody for its first poll

    def beat(self, loop: str, within: float | None = None) -> None:
        """This loop goes round. `within`: for one whose rounds are not the poll's."""
        self.beats[loop] = Beat(self.clock(), within or max(PATIENCE * self.poll_interval, LEAST))
        _last.set((loop, within))

    def waiting(self) -> None:
        """The loop that calls this waits for somebody else, who is away or slow: that is not being stuck."""
        if last := _last.get():
            self.beat(*last)

    def troubled(self, reason: str) -> None:
        self.store_trouble = reason

    def heard(self, state: str) -> None:
        self.realtime = state

    def polled(self, oldest_overdue: float = 0.0) -> None:
        """A poll was answered."""
        self.oldest_overdue = oldest_overdue
        self.last_poll = self.clock()

    def problems(self) -> list[str]:
        """Why the daemon is unwell, a sentence each; empty when it is well. Deafness alone is no illness."""
        now, limit = self.clock(), PATIENCE * self.poll_interval
        found = [
            f"{loop} has made no progress for {now - beat.at:.0f} s"
            for loop, beat in self.beats.copy().items()
            if now - beat.at > beat.within
        ]
        if now - self.last_poll > limit:
            why = f": {self.store_trouble}" if self.store_trouble else ""
            found.append(f"the last successful poll was {now - self.last_poll:.0f} s ago{why}")
        if self.oldest_overdue > limit:
            found.append(f"the oldest due message has waited {self.oldest_overdue:.0f} s")
        late = bool(found)
        found += [holder.words for holder in self.holders if late or holder.seconds > limit]
        if not self.gateway.ok:
            found.append(f"gateway: {self.gateway.detail or 'not usable'}")
        return found

    def report(self) -> dict[str, Any]:
        """For operators: whether it is well, the problems, and what people ask about next."""
        now, problems = self.clock(), self.problems()
        return {
            "ok": not problems,
            "problems": problems,
            "seconds_since_poll": round(now - self.last_poll, 1),
            "oldest_overdue_seconds": round(self.oldest_overdue, 1),
            "realtime": self.realtime,
            "held": [holder.words for holder in self.holders],
            "gateway": {"ok": self.gateway.ok, "detail": self.gateway.detail},
            "seconds_since_progress": {loop: round(now - beat.at, 1) for loop, beat in self.beats.copy().items()},
        }
