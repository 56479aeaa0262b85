"""What stands in the way of the files of EXPORT_DIR is said once, and is in the way of nothing else."""

import errno
from pathlib import Path
from typing import Any, cast

import pytest
from structlog.testing import capture_logs

from worker.sources import exports
from worker.store.audit import Entry, Place
from worker.watch.vitals import Vitals

BOOKED = Entry(Place("7", 1), "clinic", "booked", {"patient_name": "Rahul", "mobile": "9876543210"})


class OneBooking:
    async def read(self, after: Place, limit: int) -> list[Entry]:
        return [BOOKED] if after == Place() else []


def exporter(directory: Path) -> exports.Exports:
    return exports.Exports(cast(Any, OneBooking()), directory, "IN", Vitals(poll_interval=60))


@pytest.mark.parametrize(
    "position",
    [b"", b"{", b"[]", b"\xff", b'{"transaction": "1"}', b'{"transaction": "1", "id": 1, "sizes": {"a": "x"}}'],
)
async def test_a_position_that_cannot_be_read_is_said_and_nothing_is_lost(tmp_path: Path, position: bytes) -> None:
    one = exporter(tmp_path)
    while await one.advance():
        pass
    (tmp_path / exports.POSITION).write_bytes(position)
    with capture_logs() as said:
        for _ in range(3):
            assert not await one.advance()
    [line] = said
    assert "Delete it" in line["why"]

    (tmp_path / exports.POSITION).unlink()
    while await one.advance():
        pass
    file = tmp_path / exports.lines.file_name("clinic")
    assert [line.split(",")[0] for line in file.read_text().splitlines()] == ["name", "Rahul"]


async def test_a_file_that_cannot_be_written_at_this_moment_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def busy(*_: object) -> int:
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    one = exporter(tmp_path)
    with monkeypatch.context() as patched, capture_logs() as said:
        patched.setattr(exports.os, "write", busy)
        assert not await one.advance()
    assert [line["why"] for line in said] == ["Resource temporarily unavailable"]
    assert await one.advance()
