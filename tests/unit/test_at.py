"""./scripts/test --at: each test begins at that time."""

import os
from pathlib import Path

import pytest

from local import at


def test_the_clock_is_turned_back_by_what_has_gone_by(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    offset = tmp_path / "offset"
    monkeypatch.setenv("FAKETIME_TIMESTAMP_FILE", str(offset))
    monkeypatch.setenv("TESTS_BEGIN_AT", "1970-01-01 02:00Z")
    for now, ahead, then in ((600.0, "", "+6600.000"), (7300.0, "+6600.000", "+6500.000")):
        offset.write_text(ahead)
        monkeypatch.setattr(at.time, "time", lambda now=now: now)
        at.turn_back()
        assert offset.read_text() == then
    assert [path.name for path in tmp_path.iterdir()] == ["offset"]


def test_without_a_time_nothing_is_turned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    offset = tmp_path / "offset"
    monkeypatch.setenv("FAKETIME_TIMESTAMP_FILE", str(offset))
    monkeypatch.delenv("TESTS_BEGIN_AT", raising=False)
    at.turn_back()
    assert not offset.exists()


def test_what_the_dead_shared_goes_and_what_the_living_share_stays(tmp_path: Path) -> None:
    """Else a server that gets a dead one's number does not start."""
    living, dead = os.getpid(), 2**22 + 1  # no process has a number beyond 4194304 (proc(5), pid_max)
    for name in ("sem.faketime_sem", "faketime_shm"):
        for pid in (living, dead):
            (tmp_path / f"{name}_{pid}").touch()
    (tmp_path / "PostgreSQL.1").touch()

    at.forget_the_dead(tmp_path)

    left = {path.name for path in tmp_path.iterdir()}
    assert left == {f"sem.faketime_sem_{living}", f"faketime_shm_{living}", "PostgreSQL.1"}
