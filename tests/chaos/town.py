"""A town whose people each get one message: one database, one gateway that counts, and what must be true of both."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from local.stack import Stack
from psycopg.rows import dict_row

from tests.helpers.counting_gateway import CountingGateway
from tests.helpers.polling import until
from tests.helpers.process import ROOT, Worker, environment

CONNECTIONS = 20
CONCURRENCY = 20
LEASE_SECONDS = 6
SEND_SECONDS = 0.02  # what the gateway takes for one message; a connection sends them one after the other
# A series goes on tomorrow; everything else is due within seconds.
OURS = "(s.status <> 'pending' or s.scheduled_at < now() + interval '1 hour')"
OPEN = f"select count(*) as n from scheduled_messages as s where {OURS} and s.status in ('pending', 'processing')"


@dataclass
class Verdict:
    """What became of the rows, and how many messages the gateway got."""

    rows: int
    sent: int
    unconfirmed: int
    received: int


@dataclass
class Town:
    """`settings` are those of every daemon that `start` starts; workers end with the town."""

    supabase: Stack
    gateway: CountingGateway
    directory: Path
    settings: dict[str, Any] = field(default_factory=dict)
    workers: list[Worker] = field(default_factory=list)
    people: int = 0
    _db: psycopg.Connection[dict[str, Any]] | None = None

    def query(self, sql: str, *arguments: Any) -> list[dict[str, Any]]:
        """As the superuser. Survives a restart of the server: connects anew until it is back, for 20 s."""
        deadline = time.monotonic() + 20
        while True:
            try:
                return self._execute(sql, arguments)
            except psycopg.OperationalError:
                self._db = None
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)

    def _execute(self, sql: str, arguments: tuple[Any, ...]) -> list[dict[str, Any]]:
        if self._db is None:
            url = self.supabase.environment["DATABASE_URL"]
            self._db = psycopg.connect(url, autocommit=True, row_factory=dict_row, connect_timeout=2)
        cursor = self._db.execute(sql, arguments or None)
        return cursor.fetchall() if cursor.description else []

    def empty(self) -> None:
        """No rows at all, and every connection known."""
        ours = "select format('%I.%I', schemaname, tablename) as name from pg_tables where schemaname in ('public', 'private')"
        self.query(f"truncate {', '.join(row['name'] for row in self.query(ours))} restart identity cascade")
        self.query("insert into connections (id, name) select 'shop-' || n, n from generate_series(0, %s) as n", CONNECTIONS)
        self.gateway.received.clear()
        self.people = 0

    def write(self, count: int, after: float = 0.0, **columns: Any) -> range:
        """Schedules one message to each of `count` new people, due in `after` seconds. Returns their numbers."""
        people = range(self.people, self.people + count)
        self.people += count
        names = "".join(f", {name}" for name in columns)
        self.query(
            f"""
            insert into scheduled_messages (connection_id, contact_id, message, scheduled_at{names})
            select 'shop-' || n %% %s, '+9198' || lpad(n::text, 8, '0'), 'Message ' || n,
                now() + make_interval(secs => %s){", %s" * len(columns)}
            from generate_series(%s::int, %s::int) as n
            """,
            CONNECTIONS, after, *columns.values(), people.start, people.stop - 1,
        )  # fmt: skip
        return people

    def start(self, **settings: Any) -> Worker:
        """A daemon with settings of a test: short leases and polls."""
        given = {
            "GATEWAY": "waha", "WAHA_URL": self.gateway.url, "REALTIME": "off", "POLL_INTERVAL_SECONDS": 1,
            "LEASE_SECONDS": LEASE_SECONDS, "CONCURRENCY": CONCURRENCY, **self.settings, **settings,
        }  # fmt: skip
        env = environment(self.supabase.environment, {name: str(value) for name, value in given.items()})
        env["PYTHONPATH"] = ":".join([str(given["PYTHONPATH"]), str(ROOT)]) if "PYTHONPATH" in given else str(ROOT)
        self.workers.append(Worker("run", env, self.directory))
        return self.workers[-1]

    def end(self) -> None:
        for worker in self.workers:
            if worker.process.poll() is None:
                worker.kill()

    @property
    def open(self) -> int:
        """Rows that are pending or on their way."""
        return int(self.query(OPEN)[0]["n"])

    @property
    def in_doubt(self) -> int:
        """Rows of which only a daemon knows whether they went out, or nobody."""
        return int(self.query("select count(*) as n from broadcast_jobs where status in ('sending', 'unconfirmed')")[0]["n"])

    def until_settled(self, seconds: float = 40.0) -> None:
        until(lambda: self.open == 0, seconds, "all rows settled")

    def until_received(self, count: int, seconds: float = 20.0) -> None:
        until(lambda: len(self.gateway.received) >= count, seconds, f"{count} messages at the gateway")

    def rate(self, count: int) -> float:
        """Messages a second at the gateway, from the first to the last of `count` that are due at once."""
        before = len(self.gateway.received)
        self.write(count)
        self.until_settled(60)
        at = [one.at for one in self.gateway.received[before:]]
        return (len(at) - 1) / (at[-1] - at[0])

    def verdict(self, among: range | None = None, refused: Callable[[str], bool] = lambda _: False) -> Verdict:
        """Fails unless every row (`among` these people) ends in a state that is true of what the gateway counted."""
        counts = self.gateway.counts
        rows = [row for row in self.query(ROWS) if among is None or person(row) in among]
        for row in rows:
            assert is_true(row, counts[chat(row)]), f"the gateway got {counts[chat(row)]}, but the row says {row}"
        if among is None:
            assert {chat(row) for row in rows} >= set(counts), "the gateway got messages of nobody's"
        tally = [row["status"] for row in rows]
        received = sum(counts[chat(row)] for row in rows)
        return Verdict(len(rows), tally.count("sent"), tally.count("unconfirmed"), received)


ROWS = f"""
    select s.id::text, s.status, s.contact_id, s.message_id, s.error, s.sent_at, j.status as job, m.status as told,
        (select count(*) from broadcast_jobs as every where every.scheduled_message_id = s.id) as jobs
    from scheduled_messages as s
    left join broadcast_jobs as j on j.id = s.broadcast_job_id
    left join broadcast_messages as m on m.job_id = j.id
    where {OURS}
"""


def person(row: dict[str, Any]) -> int:
    return int(row["contact_id"].removeprefix("+9198"))


def chat(row: dict[str, Any]) -> str:
    return row["contact_id"].lstrip("+") + "@c.us"


def is_true(row: dict[str, Any], received: int) -> bool:
    """Sent: once, and it is the gateway's id that stands there. Unconfirmed: at most once. Failed: never."""
    if row["jobs"] != 1:
        return False
    if row["status"] == "sent":
        ours = chat(row) in row["message_id"] and row["error"] is None
        return received == 1 and ours and (row["job"], row["told"]) == ("completed", "sent")
    if row["status"] == "failed":  # claimed by a daemon that was held up, and handed back too late
        return received == 0 and row["error"].startswith("Not sent")
    alike = (row["status"], row["job"], row["told"]) == ("unconfirmed",) * 3
    return alike and received <= 1 and row["error"].startswith("It may have been sent")
