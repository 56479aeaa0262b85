"""Applying sql/ to a table that is big and in use: nobody waits long, and what was interrupted is taken up again."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from uuid import uuid4

import psycopg
import pytest
from typer.testing import CliRunner

from tests.helpers.polling import until
from tests.helpers.rows import one
from tests.sql.roles import Roles, another_database, opened, sql_file
from tests.sql.supabase_cli import supabase
from worker.__main__ import app
from worker.operating import migrate

LONGEST_WAIT = 2.0  # seconds that a single write may take, on a machine that has other things to do
FILL = """
    insert into scheduled_messages (connection_id, contact_id, message, scheduled_at, status, sent_at, message_id)
    select 'shop', (n % 1000)::text, 'Message ' || n, '2030-01-01'::timestamptz + n * interval '1 second',
        case n % 10 when 0 then 'pending' when 1 then 'failed' else 'sent' end, '2026-01-01', n::text
    from generate_series(1, {rows}) as n
"""
NEW = """
    insert into scheduled_messages (id, connection_id, contact_id, message, scheduled_at)
    values (%s, 'shop', '1', 'Hello', '2030-01-01')
"""


@pytest.fixture
def older(stack: dict[str, str]) -> Iterator[Roles]:
    """A project with the upstream application's tables, empty but for a connection."""
    with another_database(stack["DATABASE_URL"], "older") as url, opened(url) as here:
        here.db.execute(sql_file("platform.sql"))
        here.db.execute(sql_file("upstream.sql"))
        here.db.execute("insert into connections (id, name) values ('shop', 'shop')")
        yield here


class Writers:
    """Front ends and the Node worker at work. `slowest`: the longest that one write took, in seconds."""

    def __init__(self, url: str) -> None:
        self.url, self.slowest, self.writes = url, 0.0, 0
        self._stop = threading.Event()

    def work(self) -> None:
        with psycopg.connect(self.url, autocommit=True) as db:
            while not self._stop.is_set():
                row = str(uuid4())
                for sql in (
                    NEW,
                    "update scheduled_messages set message = 'Changed' where id = %s",
                    "select from scheduled_messages where id = %s",
                    "delete from scheduled_messages where id = %s",
                ):
                    started = time.monotonic()
                    db.execute(sql, (row,))
                    self.slowest = max(self.slowest, time.monotonic() - started)
                    self.writes += 1
                self._stop.wait(0.005)

    @contextmanager
    def writing(self, number: int = 3) -> Iterator[None]:
        with ThreadPoolExecutor(number) as pool:
            tasks = [pool.submit(self.work) for _ in range(number)]
            try:
                until(lambda: self.writes > 20, of="the writers at work")
                yield
            finally:
                self._stop.set()
            for task in tasks:
                task.result()


def test_a_big_table_is_migrated_while_writers_write_and_none_of_them_waits_long(older, size):
    rows = size(1_000_000)
    older.db.execute(FILL.format(rows=rows))
    older.db.execute("vacuum analyze scheduled_messages")
    writers = Writers(older.url)

    with writers.writing():
        assert migrate.migrate(older.url) == [path.name for path in migrate.migrations()]

    assert writers.slowest < LONGEST_WAIT, f"{writers.writes} writes beside {rows} rows"
    assert one(older.db, "select count(*) from scheduled_messages where connection_id = 'shop'") == rows
    assert one(older.db, "select count(*) from pg_index where not indisvalid") == 0
    assert one(older.db, "select count(*) from scheduled_messages where due_at = scheduled_at") == rows // 10
    assert one(older.db, "select count(*) from scheduled_messages where due_at is not null") == rows // 10


def test_the_supabase_cli_applies_the_same_files(older, tmp_path):
    older.db.execute(FILL.format(rows=100))
    (tmp_path / "supabase").mkdir()
    (tmp_path / "supabase" / "config.toml").write_text('project_id = "older"')
    (tmp_path / "supabase" / "migrations").symlink_to(migrate.SQL)

    done = supabase("db", "push", "--db-url", f"{older.url}?sslmode=disable", directory=tmp_path)

    assert done.returncode == 0, done.stdout + done.stderr
    assert migrate.migrate(older.url) == []
    assert one(older.db, "select count(*) from scheduled_messages where due_at = scheduled_at") == 10


def test_a_transaction_that_holds_the_table_delays_the_migration_and_not_the_writers(older):
    writers = Writers(older.url)
    with psycopg.connect(older.url) as somebody, writers.writing(), ThreadPoolExecutor(1) as pool:
        somebody.execute("update connections set name = 'held'")
        somebody.execute("select count(*) from scheduled_messages")
        migration = pool.submit(migrate.migrate, older.url)
        waiting = """
            select count(*) from pg_locks
            where relation = 'scheduled_messages'::regclass and mode = 'AccessExclusiveLock' and not granted
        """
        until(lambda: one(older.db, waiting), of="the migration waiting for its lock")
        until(lambda: not one(older.db, waiting), of="the migration giving up for a moment")
        somebody.commit()
        assert len(migration.result(60)) == len(migrate.migrations())

    assert writers.slowest < LONGEST_WAIT


def test_two_migrations_at_once_are_one(older):
    with ThreadPoolExecutor(2) as pool:
        both = [task.result() for task in [pool.submit(migrate.migrate, older.url) for _ in range(2)]]

    assert sorted(len(names) for names in both) == [0, len(migrate.migrations())]


def test_what_an_interrupted_index_left_behind_does_not_stop_the_next_run(older):
    older.db.execute(FILL.format(rows=100))
    with pytest.raises(psycopg.errors.UniqueViolation):
        older.db.execute("create unique index concurrently scheduled_messages_due_idx on scheduled_messages (status)")
    invalid = "select count(*) from pg_index where not indisvalid"
    assert one(older.db, invalid) == 1

    migrate.migrate(older.url)

    assert one(older.db, invalid) == 0
    definition = one(older.db, "select indexdef from pg_indexes where indexname = 'scheduled_messages_due_idx'")
    assert "(due_at, id)" in definition


def test_a_migration_that_fails_leaves_nothing_of_its_file_and_goes_on_there_the_next_time(older, tmp_path):
    good, bad = "create table public.first (id integer);", "create table public.second (id integer); select 1 / 0;"
    (tmp_path / "20990101000001_first.sql").write_text(good)
    (tmp_path / "20990101000002_second.sql").write_text(bad)

    with pytest.raises(psycopg.errors.DivisionByZero):
        migrate.migrate(older.url, directory=tmp_path)
    assert one(older.db, "select to_regclass('public.first') is not null and to_regclass('public.second') is null")

    (tmp_path / "20990101000002_second.sql").write_text(bad.replace("1 / 0", "1"))
    assert migrate.migrate(older.url, directory=tmp_path) == ["20990101000002_second.sql"]


@pytest.mark.parametrize(("code", "tries"), [("40P01", 2), ("55P03", 2), ("57014", 1), ("23514", 1)])
def test_a_file_that_met_a_deadlock_or_a_lock_is_tried_again_and_no_other(older, tmp_path, monkeypatch, code, tries):
    monkeypatch.setattr(migrate, "PAUSE", 0)
    older.db.execute("create sequence tries")
    first = f"if nextval('tries') = 1 then raise exception 'met' using errcode = '{code}'; end if;"
    (tmp_path / "20990101000001_first.sql").write_text(f"do $$ begin {first} end $$;")

    if tries == 1:
        with pytest.raises(psycopg.Error, match="met"):
            migrate.migrate(older.url, directory=tmp_path)
    else:
        assert migrate.migrate(older.url, directory=tmp_path) == ["20990101000001_first.sql"]
    assert one(older.db, "select last_value from tries") == tries


def test_what_has_run_is_written_where_the_supabase_cli_looks(older):
    migrate.migrate(older.url)

    sql = "select version || '_' || name || '.sql' as file from supabase_migrations.schema_migrations order by version"
    assert [row["file"] for row in older.db.execute(sql)] == [path.name for path in migrate.migrations()]


def test_a_recorded_index_that_is_not_whole_is_built_anew(older):
    """`supabase db push` takes what an interrupted build left for the whole thing, and records it."""
    migrate.migrate(older.url)
    older.db.execute("drop index idx_broadcast_messages_job_id")
    older.db.execute("update pg_index set indisvalid = false where indexrelid = 'scheduled_messages_due_idx'::regclass")

    done = migrate.migrate(older.url)

    assert [name[15:] for name in done] == ["scheduled_messages_due_idx.sql", "broadcast_messages_job_id_idx.sql"]
    assert one(older.db, "select count(*) from pg_index where not indisvalid") == 0
    assert migrate.migrate(older.url) == []


TIMEOUTS = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout", "idle_session_timeout")


def test_the_time_outs_of_a_role_or_a_database_end_no_file_and_no_index(older):
    """An index is built as slowly as an older reader lets it: longer than any of these."""
    for name in TIMEOUTS:
        older.db.execute(f"alter database older set {name} = '300ms'")
    migrate.migrate(older.url)
    older.db.execute("drop index scheduled_messages_due_idx")
    building = """
        select count(*) from pg_stat_activity
        where query like '%%create index concurrently%%' and state = 'active' and pid <> pg_backend_pid()
            and query_start < clock_timestamp() - interval '700 ms'
    """

    without = " ".join(f"-c {name}=0" for name in TIMEOUTS)
    with psycopg.connect(older.url, options=without) as reader, ThreadPoolExecutor(1) as pool:
        reader.execute("set transaction isolation level repeatable read")
        reader.execute("select count(*) from scheduled_messages")
        migration = pool.submit(migrate.migrate, older.url)
        until(lambda: one(older.db, building), 60, "an index that takes longer than the time-outs")
        reader.rollback()

        assert [name[15:] for name in migration.result(60)] == ["scheduled_messages_due_idx.sql"]
    assert one(older.db, "select count(*) from pg_index where not indisvalid") == 0


def test_a_second_run_says_whom_it_waits_for_and_gives_up(older):
    said: list[str] = []
    with psycopg.connect(older.url, application_name="somebody's") as other:
        other.execute(f"select pg_advisory_xact_lock({migrate.LOCK})")

        with pytest.raises(migrate.MigrateRefused) as refused:
            migrate.migrate(older.url, tell=said.append, seconds=1)

        for words in (*said, str(refused.value)):
            assert f"process {other.info.backend_pid} of role postgres (somebody's" in words
            assert "since 20" in words
    assert len(said) == 1
    assert migrate.migrate(older.url, tell=said.append)
    assert len(said) == 1


def test_nothing_of_the_lock_or_of_a_setting_stays_in_a_session_that_goes_on(older):
    """Where a pooler keeps it for the next one."""
    with psycopg.connect(older.url, autocommit=True, prepare_threshold=None) as db:
        migrate.apply_patiently(db, next(path for path in migrate.migrations() if "first_look" in path.name))
        migrate.run_alone(db, "create index concurrently if not exists x on scheduled_messages (message)")
        for name in TIMEOUTS:
            assert db.execute(f"select setting = reset_val from pg_settings where name = '{name}'").fetchone() == (
                True,
            )
        assert db.execute("select count(*) from pg_prepared_statements").fetchone() == (0,)
        assert one(older.db, "select count(*) from pg_locks where locktype = 'advisory'") == 0


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("postgresql://postgres:secret@127.0.0.1:1/postgres", "127.0.0.1"),
        ("postgresql://postgres:se@cret@127.0.0.1:nowhere/x", "port"),
        ("postgresql://postgres:se@cret@127.0.0.1:1/x?frobnicate=1", "frobnicate"),
    ],
)
def test_a_url_that_leads_nowhere_is_refused_in_one_line_without_its_password(url: str, words: str):
    done = CliRunner().invoke(app, ["migrate"], env={"DATABASE_URL": url})

    assert done.exit_code == 1
    told = done.stderr.rstrip("\n")
    assert told.startswith("migrate: ")
    assert words in told
    assert "\n" not in told
    assert "cret" not in told
