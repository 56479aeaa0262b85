"""A transaction that stays open and holds what the daemon needs is named, wherever an operator may look."""

import socket
import threading
from contextlib import contextmanager

import httpx
import psycopg
import pytest

from tests.helpers.polling import until
from tests.helpers.rows import add_connections, one, schedule
from worker.operating import operate
from worker.operating.doctor import examine
from worker.sending.lookout import Lookout

# What it holds, and which tables it is then said to hold rows of.
STATEMENTS = {
    "a connection's settings": ("update connection_settings set burst = 1", "connection_settings, connection_state"),
    "a message": ("select from scheduled_messages for update", "scheduled_messages"),
    "a connection to delete it": ("delete from connections", "connections, scheduled_messages"),
    "a user": ("select from auth.users limit 1 for update", "users"),
    "a table": ("lock table broadcast_jobs in access exclusive mode", "broadcast_jobs"),
}
# What is none of the daemon's business.
HARMLESS = {
    "reading": "select count(*) from scheduled_messages",
    "contacts": "insert into contacts (owner_id, phone_number) values (null, '+1')",
    "statistics": "analyze scheduled_messages",
}


@contextmanager
def transaction(stack, statement):
    """Stays open; yields its pid."""
    with psycopg.connect(stack["DATABASE_URL"], application_name="night job") as other:
        other.execute(statement)
        yield other.info.backend_pid
        other.rollback()


@contextmanager
def seeing(db, owner):
    """What the function sees is what its owner may."""
    before = one(db, "select proowner::regrole from pg_proc where oid = 'private.get_holders()'::regprocedure")
    db.execute(f"alter function private.get_holders() owner to {owner}")
    yield
    db.execute(f"alter function private.get_holders() owner to {before}")


@pytest.fixture
def plain(db):
    """A role that migrates and is no member of pg_monitor, so that everything of any age is told of at once."""
    db.execute("create role plain_migrator; grant usage, create on schema private to plain_migrator")
    with seeing(db, "plain_migrator"):
        yield
    db.execute("drop owned by plain_migrator; drop role plain_migrator")


@pytest.mark.parametrize("name", STATEMENTS)
async def test_it_is_found_by_what_it_holds_also_where_its_age_may_not_be_seen(db, stack, parts, plain, user, name):
    statement, tables = STATEMENTS[name]
    user()
    add_connections(db, "shop")
    db.execute("insert into connection_settings (connection_id) values ('shop')")
    schedule(db)
    store = (await parts()).store
    assert await store.get_holders() == []

    with transaction(stack, statement) as pid:
        [held] = await store.get_holders()

    assert (held.pid, held.application, held.seconds, held.blocks) == (pid, "night job", None, 0)
    assert set(tables.split(", ")) <= set(held.tables)
    assert f"end it with select pg_terminate_backend({pid})" in held.words
    assert await store.get_holders() == []


@pytest.mark.parametrize("name", HARMLESS)
async def test_what_holds_nothing_that_the_daemon_locks_is_not_told_of(db, stack, parts, plain, name):
    schedule(db)
    store = (await parts()).store
    with transaction(stack, HARMLESS[name]):
        assert await store.get_holders() == []


async def test_who_waits_for_it_is_counted(db, stack, parts, plain):
    row = schedule(db)
    edit = f"update scheduled_messages set message = 'x' where id = '{row}'"
    store = (await parts()).store
    with (
        psycopg.connect(stack["DATABASE_URL"], autocommit=True) as waiting,
        transaction(stack, edit),
    ):  # which ends first
        thread = threading.Thread(target=waiting.execute, args=(edit,))
        thread.start()
        until(lambda: one(db, "select count(*) from pg_locks where not granted"), 10, "somebody waiting")
        held = {one_held.blocks for one_held in await store.get_holders()}
    thread.join()
    assert 1 in held


async def test_the_log_says_each_once_and_one_of_unknown_age_when_it_is_still_there(db, stack, parts, plain):
    schedule(db)
    daemon = await parts()
    lookout = Lookout(daemon.store, daemon.vitals)
    with transaction(stack, "select from scheduled_messages for update"):
        lookout.take_note(await daemon.store.get_holders())
        assert daemon.vitals.holders == []
        lookout.take_note(await daemon.store.get_holders())
        assert ["night job" in holder.words for holder in daemon.vitals.holders] == [True]
    lookout.take_note(await daemon.store.get_holders())
    assert daemon.vitals.holders == []


async def test_doctor_warns_of_it_and_fails_where_messages_are_late(db, stack, settings, parts, plain):
    schedule(db, scheduled_at="2030-01-01")
    store = (await parts()).store

    async def found():
        return [f async for f in examine(settings(), store) if "night job" in f.what]

    with transaction(stack, "select from scheduled_messages for update") as pid:
        [finding] = await found()
        assert finding.level == "warning"
        assert f"select pg_terminate_backend({pid})" in finding.remedy
    late = schedule(db, scheduled_at="2026-01-01")
    with transaction(stack, f"select from scheduled_messages where id = '{late}' for update"):
        [finding] = await found()
        assert finding.level == "failure"


async def test_where_a_whole_table_is_held_status_and_doctor_still_say_by_whom(db, stack, settings, parts, plain):
    store = (await parts()).store
    with transaction(stack, "lock table scheduled_messages in access exclusive mode") as pid:
        with pytest.raises(operate.WorkerError, match=rf"pg_terminate_backend\({pid}\)"):
            await operate.status(settings(), as_json=True)
        findings = [f async for f in examine(settings(), store)]
    assert [f.level for f in findings if "night job" in f.what] == ["failure"]


def test_one_whose_age_is_seen_is_told_of_after_seconds_by_log_health_and_status(db, stack, daemon):
    add_connections(db, "shop")
    schedule(db, scheduled_at="2030-01-01")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    worker = daemon(HTTP_PORT=port)
    with transaction(stack, "select from scheduled_messages for update") as pid:
        line = worker.until_said("a transaction holds what this daemon needs", 30)
        assert f"pid {pid}, role" in line["reason"]
        assert "night job, idle, open for " in line["reason"]
        health = httpx.get(f"http://127.0.0.1:{port}/healthz", trust_env=False).json()
        assert f"pid {pid}," in health["held"][0]
        assert health["held"][0] in health["problems"]  # it lasts for more than three polls
        until(lambda: f"waiting for a transaction (pid {pid}," in told(daemon, "status"), 20, "status telling of it")
    until(lambda: not httpx.get(f"http://127.0.0.1:{port}/healthz", trust_env=False).json()["held"], 20, "its end")
    assert len(worker.said("a transaction holds what this daemon needs")) == 1


def told(daemon, command):
    worker = daemon(command)
    assert worker.wait() == 0
    return " ".join(worker.text.split())
