"""How much was sent within the last quarter of an hour, and how late: for somebody who looks, not for Prometheus."""

import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

STEP_SECONDS = 10
STEPS = 90  # a quarter of an hour


@dataclass(frozen=True, slots=True)
class Lateness:
    """A histogram. `up_to`: seconds, the upper bounds; `counts` has one more, of what was later than all of them."""

    up_to: Sequence[float]
    counts: Sequence[int]

    def quantile(self, share: float) -> float | None:
        """Seconds, 0.5 for the median; None of nothing.

        Interpolated within its bucket, and never beyond the last bound, as Prometheus' histogram_quantile is.
        """
        wanted, below, least = share * sum(self.counts), 0, 0.0
        if not wanted:
            return None
        for bound, count in zip(self.up_to, self.counts, strict=False):
            if count and below + count >= wanted:
                return least + (bound - least) * (wanted - below) / count
            below, least = below + count, bound
        return least


class Recent:
    """Counts in steps of ten seconds; written by one loop, read by other threads. clock: seconds (monotonic)."""

    def __init__(self, bounds: Sequence[float], clock: Callable[[], float] = time.monotonic) -> None:
        self._bounds, self._clock = bounds, clock
        self._steps: dict[int, list[int]] = {}

    def add(self, lags: Iterable[float]) -> None:
        """Messages that were sent just now: seconds that each was late."""
        now = self._now
        counts = self._steps.setdefault(now, [0] * (len(self._bounds) + 1))
        for lag in lags:
            counts[bisect_left(self._bounds, lag)] += 1
        for old in [step for step in self._steps if step <= now - STEPS]:
            del self._steps[old]

    def per_second(self) -> list[float]:
        """What was sent a second in each step, the oldest first; the last one is not over yet."""
        now, steps = self._now, self._steps.copy()
        return [sum(steps.get(step, ())) / STEP_SECONDS for step in range(now - STEPS + 1, now + 1)]

    def lateness(self) -> Lateness:
        first = self._now - STEPS
        steps = [counts for step, counts in self._steps.copy().items() if step > first]
        none = [0] * (len(self._bounds) + 1)
        return Lateness(self._bounds, [sum(counts) for counts in zip(none, *steps, strict=True)])

    @property
    def _now(self) -> int:
        return int(self._clock() // STEP_SECONDS)
