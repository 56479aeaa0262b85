"""What every subject stands on: a stack of its own, rows in it, and daemons that work on them."""

import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any
from unittest.mock import patch

import psycopg

from local.api import ROOT
from local.postgres import SETTINGS, dies_with_parent, free_port
from local.stack import Stack

CONNECTIONS = 20
TICKS = os.sysconf("SC_CLK_TCK")
INSERT = """
insert into public.scheduled_messages (connection_id, contact_id, message, scheduled_at, owner_id)
select 'c' || i %% %(connections)s, '+91987' || lpad((i + %(first)s)::text, 7, '0'),
    'Hello, this is reminder number ' || i || ' of your appointment tomorrow.',
    now() + make_interval(secs => %(ahead)s + random() * %(spread)s), md5('u' || i %% %(connections)s)::uuid
from generate_series(1, %(number)s) as i
"""
CLEAR = "truncate public.scheduled_messages, public.broadcast_jobs, public.broadcast_messages, private.connection_state"


class Daemon:
    """`python -m worker run` with the mock gateway; its page says what it has done, its log is kept."""

    def __init__(self, environment: dict[str, str], log: Path, **settings: object) -> None:
        self.port, self.log = free_port(), log
        values = {"GATEWAY": "mock", "REALTIME": "off", "HTTP_PORT": self.port} | settings
        self._page = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/metrics", headers={"authorization": f"Bearer {values.get('HTTP_TOKEN')}"}
        )
        with open(log, "wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "worker", "run"], cwd=ROOT, stdout=out, stderr=out,
                preexec_fn=dies_with_parent(signal.SIGKILL),
                env={**os.environ, **environment, **{name: str(value) for name, value in values.items()}},
            )  # fmt: skip

    def await_ready(self) -> None:
        """Returns once it has polled for the first time."""
        while self.calls("get_agenda") < 1:
            if self.process.poll() is not None:
                raise SystemExit(f"bench: the daemon ended: {self.log.read_text()[-2000:]}")
            time.sleep(0.05)

    def metric(self, name: str) -> float:
        """The sum of a metric over its labels; 0 while the daemon does not answer."""
        try:
            with urllib.request.urlopen(self._page, timeout=5) as answer:
                lines = answer.read().decode().splitlines()
        except OSError:
            return 0.0
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(f"scheduled_messages_{name}"))

    def calls(self, rpc: str | None = None) -> int:
        """HTTP calls so far, of one function or of all."""
        return int(self.metric("rpc_seconds_count" + (f'{{rpc="{rpc}"' if rpc else "")))

    @property
    def cpu(self) -> float:
        """Seconds of processor time so far."""
        return cpu_seconds(self.process.pid)

    @property
    def resident(self) -> float:
        """Megabytes of resident memory."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * resource.getpagesize() / 1e6

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(40)
        except subprocess.TimeoutExpired:
            self.process.kill()


class Ground:
    """A stack and a session in its database."""

    def __init__(self, stack: Stack, db: psycopg.Connection[Any]) -> None:
        self.stack, self.db = stack, db

    def add(self, number: int, ahead: float, spread: float = 0.0, first: int = 0) -> datetime:
        """Inserts messages due `ahead` seconds from now, at random within `spread`. Returns the earliest instant."""
        arguments = {"connections": CONNECTIONS, "number": number, "ahead": ahead, "spread": spread, "first": first}
        started: datetime = self.one("select now()")
        self.db.execute(INSERT, arguments)
        self.db.execute("vacuum (analyze) public.scheduled_messages")
        earliest: datetime = self.one(
            "select min(scheduled_at) from public.scheduled_messages where scheduled_at >= %s", started
        )
        return earliest

    def clear(self) -> None:
        self.db.execute(CLEAR)

    def one(self, query: str, *arguments: object) -> Any:
        row = self.db.execute(query, arguments).fetchone()
        return row[0] if row else None

    def seconds_since(self, instant: datetime) -> float:
        return float(self.one("select extract(epoch from clock_timestamp() - %s)", instant))

    def sleep_until(self, instant: datetime) -> None:
        if (left := -self.seconds_since(instant)) > 0:
            time.sleep(left)

    def await_done(self, table: str = "public.scheduled_messages", limit: float = 300) -> None:
        """Until every row is `sent`. Asked seldom enough to cost the others little."""
        deadline = time.monotonic() + limit
        while self.one(f"select exists (select 1 from {table} where status <> 'sent')"):
            if time.monotonic() > deadline:
                raise SystemExit("bench: the work was not done in time")
            time.sleep(0.05)

    @contextmanager
    def daemons(self, number: int, **settings: object) -> Iterator[list[Daemon]]:
        logs = [self.stack.directory / f"daemon-{i}.log" for i in range(number)]
        started = [Daemon(self.stack.environment, log, **settings) for log in logs]
        try:
            for daemon in started:
                daemon.await_ready()
            yield started
        finally:
            for daemon in started:
                daemon.stop()


@contextmanager
def ground(**settings: str) -> Iterator[Ground]:
    """A fresh stack, ended and removed afterwards. `settings`: PostgreSQL's."""
    directory = Path(tempfile.mkdtemp(prefix="bench-"))
    directory.chmod(0o755)
    stack = Stack(directory, free_port(), free_port())
    try:
        with patch.dict(SETTINGS, settings):
            stack.start()
        with psycopg.connect(stack.postgres.url(), autocommit=True) as db:
            db.execute(
                "insert into public.connections (id, name) select 'c' || i, 'bench' from generate_series(0, 19) as i"
            )
            yield Ground(stack, db)
    finally:
        stack.stop()
        shutil.rmtree(directory, ignore_errors=True)


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS
