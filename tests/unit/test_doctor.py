"""What the doctor says of this machine's clock."""

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from worker.operating import doctor
from worker.store.clock import Clock


def machine(ahead: float) -> Any:
    """A store whose machine's wall clock is so many seconds ahead of the database's."""
    clock = Clock(lambda: 0.0, lambda: 1_000_000.0 + ahead)
    clock.observe(datetime.fromtimestamp(1_000_000.0, UTC), 0.0)
    return SimpleNamespace(clock=clock)


@pytest.mark.parametrize(
    ("ahead", "level", "words"),
    [
        (0, "ok", "agrees with the database's (+0.0 s)"),
        (4.5, "ok", "(+4.5 s)"),
        (-4.5, "ok", "(-4.5 s)"),
        (60, "warning", "is +60 s off"),
        (-60, "warning", "is -60 s off"),
        (-5, "warning", "is -5 s off"),
    ],
)
def test_a_clock_that_is_ahead_or_behind_is_a_warning(ahead: float, level: str, words: str) -> None:
    finding = doctor.clock(machine(ahead))
    assert finding.level == level
    assert words in finding.what
    assert ("run NTP" in finding.remedy) == (level == "warning")
