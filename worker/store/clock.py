"""The database's clock, carried on the monotonic one: jumps and errors of this machine's wall clock do not matter."""

import math
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

DRIFT = 1e-4  # seconds a second that two clocks may part: more than any that runs at all


class Clock:
    """Estimates what `now()` is in the database. `observe` it whenever an answer tells.

    Each answer says within which bounds the difference of the clocks lies; what all of them allow is soon a few
    milliseconds wide, also where calls take long (intersection, as in RFC 5905 §11.2.1).
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic, wall: Callable[[], float] = time.time) -> None:
        self._monotonic, self._wall = monotonic, wall
        self._least = self._most = wall() - monotonic()  # until the database has spoken
        self._observed_at = -math.inf

    def observe(self, db_now: datetime, asked_at: float, answered_at: float | None = None) -> None:
        """`db_now` was read between `asked_at` and `answered_at`, by default now (monotonic seconds)."""
        if answered_at is None:
            answered_at = self._monotonic()
        drift = DRIFT * (answered_at - self._observed_at)
        least, most = db_now.timestamp() - answered_at, db_now.timestamp() - asked_at
        if least > self._most + drift or most < self._least - drift:  # a clock jumped, or one of them stood still
            self._least, self._most = least, most
        else:
            self._least, self._most = max(least, self._least - drift), min(most, self._most + drift)
        self._observed_at = answered_at

    def now(self) -> datetime:
        return datetime.fromtimestamp(self._monotonic() + self._offset, UTC)

    @property
    def _offset(self) -> float:
        return (self._least + self._most) / 2

    @property
    def uncertainty(self) -> float:
        """Seconds by which the estimate may be wrong."""
        return (self._most - self._least) / 2

    def until(self, instant: datetime) -> float:
        """Seconds from now to `instant`; negative when it has passed."""
        return instant.timestamp() - self._offset - self._monotonic()

    @property
    def skew(self) -> timedelta:
        """How far this machine's wall clock is ahead of the database's."""
        return timedelta(seconds=self._wall() - self._monotonic() - self._offset)
