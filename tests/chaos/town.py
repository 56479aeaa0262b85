"""A town whose people each get one message: one database, one gateway that counts, and what must be true of both."""

import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psycopg
from psycopg.rows import dict_row

from local.stack import Stack
from tests.conftest import is_long
from tests.helpers.counting_gateway import CountingGateway
from tests.helpers.polling import until
from tests.helpers.process import ROOT, Worker, environment

CONNECTIONS = 20
CONCURRENCY = 20
LEASE_SECONDS = 5
SEND_SECONDS = 0.02  # what the gateway takes for one message; a connection sends them one after the other
# A speed is measured with so many messages, a gateway so slow and so many connections that seats are the limit: that
# tells of a seat that was lost, and not of what else the machine had to do meanwhile.
MEASURED, MEASURED_SECONDS, MEASURED_CONNECTIONS = 600, 0.5, 300

# A series goes on tomorrow; everything else is due within seconds.
OURS = "(s.status <> 'pending' or s.scheduled_at < now() + interval '1 hour')"
OPEN = f"select count(*) as n from scheduled_messages as s where {OURS} and s.status in ('pending', 'processing')"
IN_DOUBT = "select count(*) as n from broadcast_jobs where status in ('sending', 'unconfirmed')"
TABLES = """
    select string_agg(format('%I.%I', schemaname, tablename), ', ') as names
    from pg_tables where schemaname in ('public', 'private') and tablename <> 'gateways'
"""
ROWS = f"""
    select s.id::text, s.status, s.contact_id, s.message_id, s.error, j.status as job, m.status as told,
        extract(epoch from s.sent_at)::float as sent_at, made.jobs
    from scheduled_messages as s
    left join (
        select scheduled_message_id as id, count(*) as jobs from broadcast_jobs group by scheduled_message_id
    ) as made on made.id = s.id
    left join broadcast_jobs as j on j.id = s.broadcast_job_id
    left join broadcast_messages as m on m.job_id = j.id
    where {OURS}
"""


def size(short: int, full: int) -> int:
    """How many messages: `full` with --long."""
    return full if is_long() else short


@dataclass(frozen=True)
class Verdict:
    """What became of the rows, and how many messages the gateway got."""

    messages: int
    sent: int
    unconfirmed: int
    failed: int
    received: int


@dataclass
class Town:
    """Workers that `start` starts end with the town."""

    supabase: Stack
    gateway: CountingGateway
    directory: Path
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
                assert time.monotonic() < deadline, "PostgreSQL does not come back"
                time.sleep(0.05)

    def _execute(self, sql: str, arguments: tuple[Any, ...]) -> list[dict[str, Any]]:
        if self._db is None:
            url = self.supabase.environment["DATABASE_URL"]
            self._db = psycopg.connect(url, autocommit=True, row_factory=dict_row, connect_timeout=2)
        cursor = self._db.execute(sql, arguments or None)
        return cursor.fetchall() if cursor.description else []

    def count(self, sql: str) -> int:
        return int(self.query(sql)[0]["n"])

    def empty(self) -> None:
        """No rows at all, and every connection known."""
        self.query(f"truncate {self.query(TABLES)[0]['names']} restart identity cascade")
        self.query(
            "insert into connections (id, name) select 'shop-' || n, n from generate_series(1, %s) n",
            MEASURED_CONNECTIONS,
        )

    def write(self, count: int, after: float = 0.0, recurring: bool = False, connections: int = CONNECTIONS) -> None:
        """Schedules one message to each of `count` new people, due in `after` seconds."""
        first, self.people = self.people, self.people + count
        self.query(
            """
            insert into scheduled_messages (
                connection_id, contact_id, message, scheduled_at, is_recurring, recurrence_pattern
            )
            select 'shop-' || n %% %s + 1, '+9198' || lpad(n::text, 8, '0'), 'Message ' || n,
                now() + make_interval(secs => %s), %s, case when %s then 'daily' end
            from generate_series(%s::int, %s::int) as n
            """,
            connections, after, recurring, recurring, first, self.people - 1,
        )  # fmt: skip

    def start(self, **settings: Any) -> Worker:
        """A daemon with settings of a test: short leases and polls."""
        given = {
            "GATEWAY": "waha", "WAHA_URL": self.gateway.url, "REALTIME": "off", "POLL_INTERVAL_SECONDS": 1,
            "LEASE_SECONDS": LEASE_SECONDS, "CONCURRENCY": CONCURRENCY, **settings,
        }  # fmt: skip
        env = environment(self.supabase.environment, {name: str(value) for name, value in given.items()})
        if "PYTHONPATH" in given:
            env["PYTHONPATH"] = f"{given['PYTHONPATH']}:{ROOT}"
        self.workers.append(Worker("run", env, self.directory))
        return self.workers[-1]

    def end(self) -> None:
        for worker in self.workers:
            if worker.process.poll() is None:
                worker.kill()

    @property
    def open(self) -> int:
        """Rows that are pending or on their way."""
        return self.count(OPEN)

    @property
    def in_doubt(self) -> int:
        """Rows of which only a daemon knows whether they went out, or nobody."""
        return self.count(IN_DOUBT)

    def until_settled(self, seconds: float = 40.0) -> None:
        until(lambda: self.open == 0, seconds, "all rows being settled")

    def rate(self) -> float:
        """Messages a second at the gateway, from the first to the last of many that are due at once."""
        before, usual = len(self.gateway.received), self.gateway.delay
        self.gateway.delay = MEASURED_SECONDS
        self.write(MEASURED, connections=MEASURED_CONNECTIONS)
        self.until_settled(120)
        self.gateway.delay = usual
        at = [one.at for one in self.gateway.received[before:]]
        return (len(at) - 1) / (at[-1] - at[0])

    def recovery(self, rate: float) -> float:
        """The part of `rate` that is reached again; five tries, since others use this machine too."""
        best = 0.0
        for _ in range(5):
            best = max(best, self.rate() / rate)
            if best >= 0.95:
                break
        return best

    def verdict(self, since: int = 0) -> Verdict:
        """Fails unless every row (of the people after the first `since`) says what is true of what the gateway got."""
        counts = self.gateway.counts
        everybody = self.query(ROWS)
        rows = [row for row in everybody if int(row["contact_id"].removeprefix("+9198")) >= since]
        for row in rows:
            assert is_true(row, counts[chat(row)]), f"the gateway got {counts[chat(row)]}, but the row says {row}"
        tally = [row["status"] for row in rows]
        known = {chat(row) for row in everybody}
        assert known >= counts.keys(), "the gateway got messages of nobody's"
        received = sum(counts[chat(row)] for row in rows)
        return Verdict(len(rows), tally.count("sent"), tally.count("unconfirmed"), tally.count("failed"), received)


def chat(row: dict[str, Any]) -> str:
    return f"{row['contact_id'].lstrip('+')}@c.us"


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


def reported(what: str, verdict: Verdict, **more: Any) -> dict[str, Any]:
    """A line of the report."""
    return {"what": what, **asdict(verdict), **more}


def health(port: int) -> httpx.Response:
    """What /healthz answers; status 0 where nobody listens."""
    try:
        return httpx.get(f"http://127.0.0.1:{port}/healthz", timeout=2, trust_env=False)
    except httpx.TransportError:
        return httpx.Response(0)
