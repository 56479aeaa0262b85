"""The database's clock, carried on the monotonic one: jumps and errors of this machine's wall clock do not matter."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta


class Clock:
    """Estimates what `now()` is in the database. `observe` it whenever an answer tells."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic, wall: Callable[[], float] = time.time) -> None:
        self._monotonic, self._wall = monotonic, wall
        self._offset = wall() - monotonic()  # until the database has spoken
        self._uncertainty = float("inf")
        self._observed_at = monotonic()

    def observe(self, db_now: datetime, asked_at: float) -> None:
        """`db_now` was read between `asked_at` and now (monotonic seconds). The tightest recent bracket wins."""
        answered_at = self._monotonic()
        uncertainty = (answered_at - asked_at) / 2
        stale = answered_at - self._observed_at > 300  # clocks drift; a suspend stops the monotonic one
        offset = db_now.timestamp() - (asked_at + answered_at) / 2
        if (
            uncertainty <= self._uncertainty * 1.5
            or stale
            or abs(offset - self._offset) > uncertainty + self._uncertainty
        ):
            self._offset, self._uncertainty, self._observed_at = offset, uncertainty, answered_at

    def now(self) -> datetime:
        return datetime.fromtimestamp(self._monotonic() + self._offset, UTC)

    def until(self, instant: datetime) -> float:
        """Seconds from now to `instant`; negative when it has passed."""
        return instant.timestamp() - self._offset - self._monotonic()

    @property
    def skew(self) -> timedelta:
        """How far this machine's wall clock is ahead of the database's."""
        return timedelta(seconds=self._wall() - self._monotonic() - self._offset)
