"""Other queues doing the same work: a job for each row, whose handler makes the row `sent` with a message id.

They talk to PostgreSQL directly (BullMQ to Redis too), we through the HTTP API. They are tuned as their documentation
recommends; the handlers in peers/ update row by row, and `batched` collects a turn of the event loop into one
statement, as a skilled user would.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from local.api import NODE, ROOT
from local.bench.ground import Ground
from local.postgres import dies_with_parent
from local.redis import redis_server

HOME = ROOT / ".local" / "bench"
SCRIPTS = Path(__file__).parent / "peers"
PYTHON = HOME / "venv" / "bin" / "python"
NODE_PATH = {"NODE_PATH": str(HOME / "node_modules")}
PYTHON_PACKAGES = ("pgqueuer==1.6.0", "procrastinate==3.10.0", "psycopg[binary,pool]==3.3.9", "asyncpg==0.32.0")
NPM_PACKAGES = ("graphile-worker@0.18.0", "pg-boss@12.35.0", "bullmq@6.7.0", "pg@8.23.1")

# The same row, with its indexes and checks; without triggers, which others would not have: the handlers of peers/ write
# `due_at` themselves.
TABLE = "create table if not exists public.bench_messages (like public.scheduled_messages including all)"
FILL = """
insert into public.bench_messages (connection_id, contact_id, message, scheduled_at, due_at)
select 'c' || i %% 20, '+91987' || lpad(i::text, 7, '0'),
    'Hello, this is reminder number ' || i || ' of your appointment tomorrow.', at, at
from (
    select i, now() + make_interval(secs => %(ahead)s + random() * %(spread)s) as at
    from generate_series(1, %(number)s) as i
) as due
"""
ENQUEUE = {
    "graphile": """
        select graphile_worker.add_jobs(array_agg(json_populate_record(
            null::graphile_worker.job_spec,
            json_build_object('identifier', 'send', 'payload', json_build_object('id', id), 'run_at', scheduled_at)
        ))) from public.bench_messages""",
    "pgboss": """
        insert into pgboss.job (name, data, start_after, policy)
        select q.name, jsonb_build_object('id', m.id), m.scheduled_at, q.policy
        from public.bench_messages as m, pgboss.queue as q where q.name = 'send'""",
    "pgqueuer": """
        insert into pgqueuer (priority, entrypoint, payload, status, execute_after)
        select 0, 'send', convert_to(id::text, 'utf8'), 'queued', scheduled_at from public.bench_messages""",
    "procrastinate": """
        select procrastinate_defer_jobs_v1(array_agg(
            row('default', 'send', 0, null, null, jsonb_build_object('id', id), scheduled_at)
                ::procrastinate_job_to_defer_v1
        )) from public.bench_messages""",
}


REDIS_HZ = 100  # how often Redis looks at its timers, which is what BullMQ's lateness depends on; 10 by default
LATENESS_AHEAD = 10  # seconds; it has started by then
LATE = "select extract(epoch from sent_at - scheduled_at)::float8 * 1000 from public.bench_messages"


@dataclass(frozen=True, slots=True)
class Peer:
    name: str
    queue: str
    command: tuple[str | Path, ...]
    share: float = 1.0  # of the rows: a slow one shows its rate with fewer
    poll_seconds: float = 0.1  # while lateness is measured: what buys them theirs
    by_hand: bool = False  # statements batched as a skilled user would

    def __call__(self, place: Ground, rows: int) -> float:
        """Seconds from the commit of the jobs, which wakes the worker, until every row is `sent`."""
        self._fill(place, rows)
        with self._running(place) as worker:
            self._enqueue(place, worker)
            began = place.one("select clock_timestamp()")
            place.await_done("public.bench_messages")
            return place.seconds_since(began)

    def lateness(self, place: Ground, rows: int, spread: float) -> list[float]:
        """Milliseconds of each of `rows` messages at random instants."""
        self._fill(place, rows, LATENESS_AHEAD, spread)
        with self._running(place, POLL_SECONDS=str(self.poll_seconds)) as worker:
            self._enqueue(place, worker)
            place.sleep_until(place.one("select max(scheduled_at) from public.bench_messages"))
            place.await_done("public.bench_messages", limit=30)
        return [row[0] for row in place.db.execute(LATE)]

    def _fill(self, place: Ground, rows: int, ahead: float = 0.0, spread: float = 0.0) -> None:
        place.db.execute(TABLE)
        place.db.execute("truncate public.bench_messages")
        place.db.execute(FILL, {"number": rows, "ahead": ahead, "spread": spread})
        place.db.execute("vacuum (analyze) public.bench_messages")

    def _enqueue(self, place: Ground, worker: subprocess.Popen[str]) -> None:
        """By a statement, or by the worker where its jobs are not in PostgreSQL."""
        if self.queue in ENQUEUE:
            place.db.execute(ENQUEUE[self.queue])
            return
        assert worker.stdin
        worker.stdin.write("enqueue\n")
        worker.stdin.flush()
        self._await_word(place, worker, "enqueued")

    @contextmanager
    def _running(self, place: Ground, **settings: str) -> Iterator[subprocess.Popen[str]]:
        """The worker, up and waiting: it says `ready`."""
        urls = {"DATABASE_URL": place.stack.postgres.url()}
        with ExitStack() as stack:
            if self.queue == "bullmq":
                redis = stack.enter_context(redis_server(place.stack.directory, hz=REDIS_HZ))
                urls["REDIS_URL"] = redis.connection_url
            log = stack.enter_context(open(self._log(place), "wb"))
            worker = subprocess.Popen(
                self.command, cwd=HOME, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True,
                preexec_fn=dies_with_parent(signal.SIGKILL),
                env={**os.environ, **urls, **NODE_PATH, **settings},
            )  # fmt: skip
            try:
                self._await_word(place, worker, "ready")
                yield worker
            finally:
                worker.kill()
                worker.communicate()

    def _await_word(self, place: Ground, worker: subprocess.Popen[str], word: str) -> None:
        assert worker.stdout
        if word not in worker.stdout.readline():
            raise SystemExit(f"bench: {self.name} is not {word}; see {self._log(place)}")

    def _log(self, place: Ground) -> Path:
        return place.stack.directory / f"{self.queue}.log"


def install() -> list[Peer]:
    """The peers, installed at first use into .local/bench, apart from our own packages."""
    if not PYTHON.exists():
        _run(sys.executable, "-m", "venv", str(HOME / "venv"))
    stamp, wanted = HOME / "installed", " ".join(PYTHON_PACKAGES + NPM_PACKAGES)
    if not stamp.exists() or stamp.read_text() != wanted:
        print("bench: installing the peers into .local/bench (once) …", flush=True)
        _run(str(PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *PYTHON_PACKAGES)
        _run("npm", "install", "--prefix", str(HOME), "--silent", "--no-audit", "--no-fund", *NPM_PACKAGES)
        stamp.write_text(wanted)
    return [
        peer
        for name, queue, command, share, poll in (
            ("graphile-worker", "graphile", (NODE, SCRIPTS / "graphile.mjs"), 1.0, 0.1),
            ("pg-boss", "pgboss", (NODE, SCRIPTS / "pgboss.mjs"), 1.0, 0.5),  # polls no oftener
            ("BullMQ", "bullmq", (NODE, SCRIPTS / "bullmq.mjs"), 1.0, 1 / REDIS_HZ),
            ("pgqueuer", "pgqueuer", (PYTHON, SCRIPTS / "pgqueuer_worker.py"), 1.0, 0.1),
            ("procrastinate", "procrastinate", (PYTHON, SCRIPTS / "procrastinate_worker.py"), 0.1, 0.1),
        )
        for peer in (
            Peer(name, queue, command, share, poll),
            Peer(f"{name}, batched by hand", queue, (*command, "batched"), share, poll, by_hand=True),
        )
    ]


def _run(*command: str) -> None:
    path = f"{ROOT / '.venv' / 'bin'}{os.pathsep}{os.environ['PATH']}"
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env={**os.environ, "PATH": path})
