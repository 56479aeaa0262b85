"""Applies sql/ in order, each file once, and records it in supabase_migrations.schema_migrations.

Works through poolers that give each transaction another session (PgBouncer, Supavisor on port 6543): it prepares no
statement, sets time-outs for each transaction, and holds its lock in a transaction of its own.
"""

import re
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

from worker.errors import WorkerError
from worker.files import folder
from worker.operating.database_url import UrlRefused, conninfo

SQL = folder("sql")
NAME = re.compile(r"^(\d{14})_(\w+)\.sql$")
ATTEMPTS, PAUSE = 20, 0.2  # seconds between them
LOCK = "hashtext('scheduled_messages migrations')"
LOCK_SECONDS = 60  # that a second run waits for the first
REFUSED = "PT428"  # what sql/ raises with a list of what to do
SOURCES = "20261128"  # files of what writes messages: where a project has a name of theirs, the core goes on without
HISTORY = """
    create schema if not exists supabase_migrations;
    create table if not exists supabase_migrations.schema_migrations (version text primary key);
"""
# Older releases of the Supabase CLI made it without these.
COLUMNS = """
    alter table supabase_migrations.schema_migrations
    add column if not exists statements text[], add column if not exists name text
"""
# A role's or a database's own would end a big file, or a wait that has its own bound.
TIMEOUTS = ("statement_timeout", "idle_in_transaction_session_timeout", "transaction_timeout", "idle_session_timeout")
Database = psycopg.Connection[tuple[Any, ...]]
Tell = Callable[[str], None]


class MigrateRefused(WorkerError):
    """Nothing more was changed; the message says what to do."""


def connect(url: str) -> Database:
    """Raises MigrateRefused."""
    try:
        return psycopg.connect(
            conninfo(url), autocommit=True, prepare_threshold=None, connect_timeout=20,
            application_name=f"migrate on {socket.gethostname()}"[:63],
        )  # fmt: skip
    except UrlRefused as e:
        raise MigrateRefused(f"DATABASE_URL: {e}") from None
    except psycopg.Error as e:
        raise MigrateRefused(" ".join(str(e).split())) from None


def run(db: Database, sql: str) -> None:
    """One of our own files, or a part of one."""
    db.execute(sql)


def value(db: Database, sql: str, *arguments: Any) -> Any:
    row = db.execute(sql, arguments or None).fetchone()  # without arguments a % is a %
    return row[0] if row else None


def migrations(directory: Path = SQL) -> list[Path]:
    """The migration files, oldest first."""
    return sorted(path for path in directory.iterdir() if NAME.match(path.name))


def version(path: Path) -> str:
    return path.name[:14]


def index_of(sql: str) -> str | None:
    """The index that a file of one statement builds, which cannot run inside a transaction."""
    found = re.search(r"^\s*create\s+(?:unique\s+)?index\s+concurrently\s+if\s+not\s+exists\s+(\w+)", sql, re.I | re.M)
    return found[1] if found else None


def applied(db: Database) -> set[str]:
    if not value(db, "select to_regclass('supabase_migrations.schema_migrations')"):
        return set()
    return {str(row[0]) for row in db.execute("select version from supabase_migrations.schema_migrations")}


def is_whole(db: Database, name: str) -> bool:
    """Whether an index is there and valid: one whose building was interrupted is not, and nobody notices."""
    return bool(value(db, "select indisvalid from pg_index where indexrelid = to_regclass(%s)", f"public.{name}"))


@contextmanager
def transaction(db: Database, force_rollback: bool = False) -> Iterator[None]:
    """Without the time-outs that a role, a database or a server may have; one second for a lock."""
    with db.transaction(force_rollback=force_rollback):
        # Which of them exist depends on the server's version.
        sql = "select set_config(name, '0', true) from pg_settings where name = any(%s)"
        db.execute(sql, (list(TIMEOUTS),))
        db.execute("set local lock_timeout = '1s'")
        yield


def run_alone(db: Database, sql: str) -> None:
    """A statement that takes no transaction around it.

    Sent at once with its settings, so that a pooler has no reason to give it to another session; where one does, a
    time-out may hit it, and it is begun anew.
    """
    with db.pipeline() as pipeline:
        run(db, "set statement_timeout = 0")
        pipeline.sync()
        run(db, "set lock_timeout = 0")  # it waits for what is older than itself, and holds up nobody
        pipeline.sync()
        run(db, sql)
        pipeline.sync()
        run(db, "reset statement_timeout")
        pipeline.sync()
        run(db, "reset lock_timeout")


def record(db: Database, path: Path) -> None:
    if not value(db, "select to_regclass('supabase_migrations.schema_migrations')"):
        run(db, HISTORY)
    known = "select count(*) from pg_attribute where attrelid = %s::regclass and attname in ('statements', 'name')"
    if value(db, known, "supabase_migrations.schema_migrations") < 2:
        run(db, COLUMNS)
    sql = """
        insert into supabase_migrations.schema_migrations (version, name, statements) values (%s, %s, %s)
        on conflict (version) do nothing
    """
    db.execute(sql, (version(path), path.stem[15:], [path.read_text()]))


def apply(db: Database, path: Path) -> None:
    sql = path.read_text()
    name = index_of(sql)
    with transaction(db):
        is_missing = name is not None and not is_whole(db, name)
    if is_missing:
        run_alone(db, f"drop index concurrently if exists public.{name}")
        run_alone(db, sql)
    with transaction(db):
        if not name:
            run(db, sql)
        record(db, path)


def apply_patiently(db: Database, path: Path) -> None:
    """Again where a file gave up waiting for a lock (its `lock_timeout`): the writers behind it have had their turn.

    Or where it was in the way of somebody who was in its way: one of the two has to begin anew. Or where a pooler has
    given an index to a session with a time-out.
    """
    mishaps: tuple[type[psycopg.Error], ...] = (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected)
    if index_of(path.read_text()):
        mishaps += (psycopg.errors.QueryCanceled,)
    for _ in range(ATTEMPTS - 1):
        try:
            return apply(db, path)
        except mishaps:
            time.sleep(PAUSE)
    return apply(db, path)


def holder(db: Database) -> str:
    """Who migrates at this moment, in words."""
    sql = f"""
        select format('process %s of role %s (%s%s), since %s UTC', a.pid, a.usename, a.application_name,
            coalesce(', ' || host(a.client_addr), ''),
            to_char(coalesce(a.xact_start, a.state_change) at time zone 'utc', 'YYYY-MM-DD HH24:MI:SS'))
        from pg_locks as l join pg_stat_activity as a on a.pid = l.pid
        where l.locktype = 'advisory' and l.granted and l.objsubid = 1
            and (l.classid::bigint << 32 | l.objid::bigint) = {LOCK}::bigint
    """  # noqa: S608  a constant of ours
    return str(value(db, sql) or "one that ended just now")


@contextmanager
def locked(url: str, tell: Tell, seconds: float) -> Iterator[None]:
    """One migration at a time. Raises MigrateRefused when another one has not ended after so many seconds.

    The lock belongs to a transaction on a connection of its own, so that nothing of it stays behind in a pooler. It
    asks again and again: a statement that waits holds up `create index concurrently`; an idle transaction does not.
    """
    with connect(url) as db:
        until, told = time.monotonic() + seconds, False
        while True:
            with transaction(db):
                if value(db, f"select pg_try_advisory_xact_lock({LOCK})"):
                    yield
                    return
                who = holder(db)
            if time.monotonic() > until:
                raise MigrateRefused(
                    f"another migration is still running: {who}. Wait for it; if nobody runs one, end it with "
                    "select pg_terminate_backend(<process>)"
                )
            if not told:
                tell(f"another migration is running: {who}; waiting for it, up to {seconds:.0f} s")
                told = True
            time.sleep(PAUSE)


def to_do(db: Database, directory: Path, core: bool = False) -> list[Path]:
    """What has not run, and what has but left no whole index."""
    wanted = [path for path in migrations(directory) if not (core and path.name.startswith(SOURCES))]
    files = [(path, index_of(path.read_text())) for path in wanted]
    with transaction(db):
        done = applied(db)
        return [path for path, name in files if version(path) not in done or (name and not is_whole(db, name))]


def look(db: Database, path: Path) -> None:
    """What the first file would say, undone."""
    with transaction(db, force_rollback=True):
        run(db, path.read_text())


def migrate(
    url: str,
    dry_run: bool = False,
    directory: Path = SQL,
    tell: Tell = lambda _: None,
    seconds: float = LOCK_SECONDS,
    core: bool = False,
) -> list[str]:
    """Returns the names of the files that ran (or would run).

    Raises MigrateRefused, or psycopg.Error with a note of the file. tell: is given what a person should know while it
    runs. seconds: how long it waits for another run. core: leave out what writes messages of its own accord.
    """
    if dry_run:
        with connect(url) as db:
            todo = to_do(db, directory, core)
            attempt(todo[:1], lambda path: look(db, path), tell)
        return [path.name for path in todo]
    with locked(url, tell, seconds), connect(url) as db:
        todo = to_do(db, directory, core)
        done = attempt(todo, lambda path: apply_patiently(db, path), tell)
    return [path.name for path in done]


def attempt(paths: list[Path], work: Callable[[Path], None], tell: Tell) -> list[Path]:
    """Those that went through. A name that is taken ends the sources as a whole, before their first file."""
    for place, path in enumerate(paths):
        try:
            work(path)
        except psycopg.Error as e:
            if e.sqlstate == REFUSED and path.name.startswith(SOURCES):
                tell(e.diag.message_primary or str(e))
                return paths[:place]
            if e.sqlstate == REFUSED:
                raise MigrateRefused(e.diag.message_primary or str(e)) from None
            e.add_note(path.name)
            raise
    return paths


def report(url: str | None, dry_run: bool, core: bool, tell: Tell) -> Iterator[str]:
    """What to print of a run, for people. Raises MigrateRefused."""
    if not url:
        raise MigrateRefused("set DATABASE_URL to the database's libpq URL (Supabase: Project Settings → Database)")
    try:
        names = migrate(url, dry_run, core=core, tell=tell)
    except psycopg.Error as e:
        raise MigrateRefused(": ".join([*getattr(e, "__notes__", []), str(e)])) from e
    for name in names:
        yield ("would apply " if dry_run else "applied ") + name
    yield f"migrate: {len(names)} of {len(migrations())} files" + (" to apply" if dry_run else " applied")
