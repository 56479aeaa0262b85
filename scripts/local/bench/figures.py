"""What a subject yields, and the numbers that are made of samples."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured. `rows`: messages due at once. `tables`: rows in the table whose cost is asked."""

    rows: int
    runs: int
    tables: tuple[int, ...]
    lateness_seconds: float
    idle_seconds: float
    memory_rows: int
    plain_rows: int
    waiting: tuple[tuple[int, int], tuple[int, int]]  # connections and waiting jobs, few and many
    pace_seconds: float


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table. `against`: what `value` is a multiple of, where the ratio is what counts.

    goal: what `value` must not exceed; where it does, the benchmark exits with 1.
    """

    subject: str
    what: str
    value: float
    unit: str
    ratio: float | None = None
    against: str = ""
    settings: str = ""
    goal: float | None = None

    @property
    def is_missed(self) -> bool:
        return self.goal is not None and self.value > self.goal


QUICK = Size(2_000, 1, (10_000, 100_000), 12, 20, 10_000, 100, ((10, 5_000), (100, 20_000)), 30)
USUAL = Size(20_000, 3, (10_000, 1_000_000), 75, 90, 100_000, 500, ((10, 10_000), (1_000, 1_000_000)), 180)
FULL = Size(20_000, 5, (10_000, 1_000_000, 10_000_000), 90, 180, 100_000, 500, ((10, 10_000), (1_000, 1_000_000)), 600)


def percentile(values: Sequence[float], share: float) -> float:
    """The value that `share` of the values do not exceed (nearest rank)."""
    return sorted(values)[max(0, min(len(values) - 1, round(share * len(values)) - 1))]


def most_within(instants: Sequence[float], seconds: float) -> int:
    """How many of these fall into the fullest window of so many seconds, its end excluded."""
    ordered, most, first = sorted(instants), 0, 0
    for last, instant in enumerate(ordered):
        while instant - ordered[first] >= seconds:
            first += 1
        most = max(most, last - first + 1)
    return most


def median(values: Sequence[float]) -> float:
    return statistics.median(values)
