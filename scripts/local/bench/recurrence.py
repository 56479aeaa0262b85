"""Next occurrences a second; see local/bench_recurrence.py."""

from collections.abc import Iterator

from local.bench.figures import Figure, Size
from local.bench_recurrence import AGES, measure


def recurrence(size: Size) -> Iterator[Figure]:  # noqa: ARG001 (it takes seconds at any size)
    for pattern, speeds in measure():
        for age, speed in zip(AGES, speeds, strict=True):
            yield Figure("recurrence", f"{pattern}, a series of {age} years", speed, "/s", settings="one core")
