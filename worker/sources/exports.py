"""Appends what happened to appointments to a file for each connection: nothing twice, nothing lost.

A batch is written, then how far it goes. After a crash, or on a full disk, a file may hold more than was noted: that is
compared with what would be written next, and only the rest is written. Nothing is ever truncated.
"""

import asyncio
import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import structlog
from pydantic import TypeAdapter, ValidationError

from worker.errors import WorkerError
from worker.sources import lines
from worker.store.audit import Audit, Entry, Place
from worker.waiting import Alarm
from worker.watch.vitals import Vitals

log = structlog.get_logger()

ENTRIES_AT_ONCE = 1000
LOOK_SECONDS = 5.0
POSITION = ".position.json"
LOCK = ".lock"
OWNER_ONLY = 0o600  # names and numbers of patients


@dataclass(slots=True)
class Noted:
    """How far a directory has come, and how long each of its files was then."""

    place: Place = field(default_factory=Place)
    sizes: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Written:
    """The same as it stands in its file."""

    transaction: str
    id: int
    sizes: dict[str, int]


WRITTEN = TypeAdapter(Written)


class Exports:
    """One directory. Of several daemons one writes, and the others look on."""

    def __init__(self, audit: Audit, directory: Path, region: str | None, vitals: Vitals) -> None:
        self._audit, self._directory, self._region = audit, directory, region
        self._alarm = Alarm(lambda: vitals.beat("exports"))
        self._trouble = ""

    async def run(self, stop: asyncio.Event) -> None:
        while await self._alarm.rings(stop):
            self._alarm.within(0.0 if await self.advance() else LOOK_SECONDS)

    async def advance(self) -> bool:
        """One batch. Whether there was one; a disk that is full is said once, and tried again later."""
        try:
            self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            with _held(self._directory) as is_ours:
                moved = is_ours and await self._write_next()
        except OSError as e:
            self._say(os.strerror(e.errno) if e.errno else type(e).__name__)
            return False
        except WorkerError as e:
            self._say(str(e))
            return False
        self._say("")
        return moved

    async def _write_next(self) -> bool:
        noted = _read_position(self._directory)
        entries = await self._audit.read(noted.place, ENTRIES_AT_ONCE)
        if entries:
            await asyncio.to_thread(self._append, noted, entries)
        return bool(entries)

    def _append(self, noted: Noted, entries: list[Entry]) -> None:
        texts: dict[str, list[str]] = {}
        for entry in entries:
            text = lines.appointment(entry.record, self._region)
            texts.setdefault(lines.file_name(entry.connection_id), []).append(text)
        for name, new in texts.items():
            known = noted.sizes.get(name, 0)
            head = "" if known else lines.line(lines.APPOINTMENT)
            noted.sizes[name] = append(self._directory / name, known, (head + "".join(new)).encode())
        noted.place = entries[-1].place
        _write_position(self._directory, noted)

    def _say(self, trouble: str) -> None:
        if trouble and trouble != self._trouble:
            log.error(
                "appointments cannot be written out; nothing is lost", directory=str(self._directory), why=trouble
            )
        elif self._trouble and not trouble:
            log.info("appointments are written out again", directory=str(self._directory))
        self._trouble = trouble


def append(path: Path, known: int, text: bytes) -> int:
    """Writes what of `text` is not there yet after the first `known` bytes. Returns how long the file is thereby.

    What else stands there somebody has added: it stays, and the text comes after it. Raises OSError.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, OWNER_ONLY)
    try:
        size = os.fstat(descriptor).st_size
        there = os.pread(descriptor, max(0, size - known), known)
        if there.startswith(text):
            return known + len(text)
        if not text.startswith(there):
            log.warning("somebody else has written into this file", file=path.name)
            there, known = b"", size
        rest = memoryview(text)[len(there) :]
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        os.fsync(descriptor)
        return known + len(text)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _held(directory: Path) -> Iterator[bool]:
    """Whether this process may write here; the lock goes with the process, however that ends."""
    descriptor = os.open(directory / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, OWNER_ONLY)
    try:
        is_ours = True
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            is_ours = False
        yield is_ours
    finally:
        os.close(descriptor)


def _read_position(directory: Path) -> Noted:
    try:
        read = WRITTEN.validate_json((directory / POSITION).read_bytes())
    except FileNotFoundError:
        return Noted()
    except ValidationError as e:
        raise WorkerError(
            f"{POSITION} cannot be read. Delete it: then the files are compared with the audit log from its beginning"
        ) from e
    return Noted(Place(read.transaction, read.id), read.sizes)


def _write_position(directory: Path, noted: Noted) -> None:
    """In one step: the old position or the new one."""
    new = directory / f"{POSITION}.new"
    text = json.dumps(asdict(Written(noted.place.transaction, noted.place.id, noted.sizes)))
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, OWNER_ONLY)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    new.replace(directory / POSITION)
