"""Whoever may no longer use a connection sends nothing through it: not what waits, nor what comes of it just then."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg.rows import dict_row

from tests.helpers import calls
from tests.helpers.accounts import User
from tests.helpers.polling import until
from tests.helpers.rows import Database, message, one
from tests.sql.roles import another_database, opened, sql_file
from tests.sql.states import STATES, answered, job_of, row_in, status
from tests.sql.test_deletions import AFTERWARDS
from tests.sql.test_twenty_faults import UPSTREAM_CONNECTIONS
from worker.operating import migrate

GIVEN = "update connections set user_id = %(other)s where id = %(connection)s"
TAKEN = "update connections set user_id = null where id = %(connection)s"
RENAMED = "update connections set id = id || ' (old)' where id = %(connection)s"
DELETED = "delete from connections where id = %(connection)s"
BANNED = "update auth.users set banned_until = now() + interval '1 day' where id = %(user)s"
SOFTLY_DELETED = "update auth.users set deleted_at = now() where id = %(user)s"
USER_DELETED = "delete from auth.users where id = %(user)s"
# What takes a right, and a word of what the row then says.
LOSSES = {GIVEN: "somebody else", TAKEN: "somebody else", RENAMED: "another id", BANNED: "suspended",
          SOFTLY_DELETED: "suspended"}  # fmt: skip
ALL_LOSSES = {**LOSSES, DELETED: "deleted", USER_DELETED: "account"}


@pytest.fixture
def leaver(user) -> User:
    """Somebody with a connection who may lose everything."""
    return user()


@pytest.fixture
def stayer(user) -> User:
    return user()


def lose(db: Database, sql: str, leaver: User, stayer: User) -> None:
    db.execute(sql, {"connection": leaver.connection_id, "user": leaver.id, "other": stayer.id})


@pytest.fixture
def connect(stack: dict[str, str]) -> Iterator[Callable[[], Database]]:
    """connect(): another session of the database, not in autocommit."""
    opened_here: list[Database] = []

    def new() -> Database:
        opened_here.append(psycopg.connect(stack["DATABASE_URL"], row_factory=dict_row))
        return opened_here[-1]

    yield new
    for session in opened_here:
        session.close()


async def send_what_is_due(parts: Any) -> None:
    daemon = await parts()
    await daemon.scheduler.poll()
    await daemon.dispatcher.send_all()


@pytest.mark.parametrize("loss", LOSSES)
def test_what_waits_is_cancelled_and_says_why_and_history_stays(db, leaver, stayer, loss):
    rows = {state: row_in(db, state, leaver.connection_id, leaver.id) for state in STATES}

    lose(db, loss, leaver, stayer)

    assert {state: status(db, row) for state, row in rows.items()} == AFTERWARDS
    for state in ("pending", "waiting", "in_queue"):
        assert LOSSES[loss] in message(db, rows[state])["error"]
    assert job_of(db, rows["waiting"])["status"] == "cancelled"
    assert message(db, rows["sent"])["error"] is None


@pytest.mark.parametrize("loss", LOSSES)
def test_what_was_being_sent_tells_what_became_of_it_and_is_not_tried_again(db, leaver, stayer, loss):
    gone_out, refused = (row_in(db, "sending", leaver.connection_id, leaver.id) for _ in range(2))
    lose(db, loss, leaver, stayer)

    answered(db, gone_out, "sent")
    answered(db, refused, "retry")

    assert (status(db, gone_out), status(db, refused)) == ("sent", "cancelled")


async def test_a_connection_that_is_given_away_goes_on_for_all_but_its_former_owner(db, leaver, stayer, user, parts):
    guest = user()
    rows = {
        "its former owner's": row_in(db, "pending", leaver.connection_id, leaver.id),
        "a series of the former owner's": row_in(
            db, "pending", leaver.connection_id, leaver.id, is_recurring=True, recurrence_pattern="daily"
        ),
        "of one who has it by the project's policy": row_in(db, "pending", leaver.connection_id, guest.id),
        "of two, one of whom has it still": row_in(db, "pending", leaver.connection_id, leaver.id, owner_id=guest.id),
        "the service key's": row_in(db, "pending", leaver.connection_id, None),
        "the new owner's": row_in(db, "pending", leaver.connection_id, stayer.id),
        "the former owner's through another": row_in(db, "pending", stayer.connection_id, leaver.id),
    }

    lose(db, GIVEN, leaver, stayer)
    await send_what_is_due(parts)

    lost = {"its former owner's", "a series of the former owner's"}
    assert {name: status(db, row) for name, row in rows.items()} == {
        name: "cancelled" if name in lost else "sent" for name in rows
    }
    assert one(db, "select count(*) from scheduled_messages where status = 'pending'") == 0


def test_a_connection_that_belonged_to_nobody_takes_nothing_from_anybody(db, leaver, stayer):
    db.execute("update connections set user_id = null where id = %s", (leaver.connection_id,))
    row = row_in(db, "pending", leaver.connection_id, leaver.id)

    lose(db, GIVEN, leaver, stayer)

    assert status(db, row) == "pending"


def test_changes_that_take_no_right_cancel_nothing(db, leaver):
    row = row_in(db, "pending", leaver.connection_id, leaver.id)

    for change in (
        "update connections set user_id = user_id, name = 'New', qr = 'x' where id = %(connection)s",
        "update auth.users set last_sign_in_at = now(), banned_until = now() - interval '1 h' where id = %(user)s",
        "update auth.users set banned_until = null, deleted_at = null where id = %(user)s",
    ):
        lose(db, change, leaver, leaver)
        assert status(db, row) == "pending", change


@pytest.mark.parametrize("loss", [BANNED, SOFTLY_DELETED])
def test_who_is_suspended_already_loses_nothing_more(db, leaver, stayer, loss):
    """What the service key has scheduled since is the operator's will."""
    lose(db, loss, leaver, stayer)
    row = row_in(db, "pending", leaver.connection_id, leaver.id)

    lose(db, "update auth.users set banned_until = banned_until + interval '1 day' where id = %(user)s", leaver, stayer)
    lose(db, "update auth.users set deleted_at = deleted_at + interval '1 s' where id = %(user)s", leaver, stayer)

    assert status(db, row) == "pending"


async def test_a_right_that_comes_back_leaves_rows_cancelled_until_their_author_wants_them(db, leaver, stayer, parts):
    row, other = (row_in(db, "pending", leaver.connection_id, leaver.id) for _ in range(2))
    lose(db, GIVEN, leaver, stayer)
    db.execute("update connections set user_id = %s where id = %s", (leaver.id, leaver.connection_id))
    assert status(db, row) == "cancelled"

    leaver.update(row, status="pending")
    await send_what_is_due(parts)

    assert (status(db, row), status(db, other)) == ("sent", "cancelled")


async def test_a_ban_that_is_over_leaves_rows_cancelled_until_their_author_wants_them(db, leaver, stayer, parts):
    row = row_in(db, "pending", leaver.connection_id, leaver.id)
    lose(db, BANNED, leaver, stayer)
    refused = leaver.http.patch("/scheduled_messages", params={"id": f"eq.{row}"}, json={"status": "pending"})
    db.execute("update auth.users set banned_until = null where id = %s", (leaver.id,))
    assert status(db, row) == "cancelled"

    leaver.update(row, status="pending")
    await send_what_is_due(parts)

    assert refused.status_code == 403
    assert status(db, row) == "sent"


@pytest.mark.parametrize("loss", [BANNED, SOFTLY_DELETED])
def test_a_token_that_lives_on_schedules_nothing_for_a_suspended_account(db, leaver, stayer, loss):
    failed = row_in(db, "failed", leaver.connection_id, leaver.id)
    lose(db, loss, leaver, stayer)
    draft = {"connection_id": leaver.connection_id, "contact_id": "1", "message": "Hi", "scheduled_at": "2030-01-01"}

    inserted = leaver.http.post("/scheduled_messages", json=draft)
    retried = leaver.http.patch("/scheduled_messages", params={"id": f"eq.{failed}"}, json={"status": "pending"})

    assert (inserted.status_code, retried.status_code) == (403, 403)
    assert "suspended" in inserted.json()["message"]
    assert one(db, "select count(*) from scheduled_messages where status = 'pending'") == 0


def test_a_row_of_two_users_goes_on_while_one_of_them_may_sign_in(db, leaver, stayer):
    row = row_in(db, "pending", stayer.connection_id, leaver.id, owner_id=stayer.id)

    lose(db, BANNED, leaver, stayer)
    assert status(db, row) == "pending"
    lose(db, BANNED, stayer, leaver)
    assert status(db, row) == "cancelled"


def test_as_the_former_owner_a_message_may_still_be_cancelled_and_deleted_but_not_sent(db, leaver, stayer):
    """Not by the trigger: a project's own policies may take a right that no column tells of."""
    row = row_in(db, "pending", stayer.connection_id, leaver.id)

    assert leaver.update(row, status="cancelled")["status"] == "cancelled"
    again = leaver.http.patch("/scheduled_messages", params={"id": f"eq.{row}"}, json={"status": "pending"})
    assert again.status_code == 403
    leaver.delete(row)


# Races, with real transactions: one is open while the other begins.


def enqueue(session: Database, *rows: str) -> None:
    """As a daemon does it with daily messages, which have a next occurrence."""
    tomorrow = one(session, "select now() + interval '1 day'")
    series = {"timezone": "UTC", "anchor": "2026-01-01", "occurrence": "2026-01-01T00:00:00Z", "next_at": tomorrow}
    same = {"revision": 0, "recipient": "+919876500000", **series}
    calls.enqueue(session, *({"id": row, "job_id": uuid4(), **same} for row in rows))


def waits(db: Database, session: Database) -> bool:
    sql = "select wait_event_type = 'Lock' as waits from pg_stat_activity where pid = %s"
    return bool(one(db, sql, session.info.backend_pid))


def begun(db: Database, session: Database, work: Callable[[], Any], pool: ThreadPoolExecutor) -> Future[Any]:
    """`work` of `session` has begun, and has come to what it must wait for."""
    future = pool.submit(work)
    until(lambda: waits(db, session) or future.done(), 10, "the second transaction to wait")
    assert not future.done(), "it did not wait for the first one"
    return future


@pytest.mark.parametrize("loss", ALL_LOSSES)
def test_an_occurrence_that_is_being_enqueued_at_that_moment_does_not_escape(db, leaver, stayer, connect, loss):
    row = row_in(db, "pending", leaver.connection_id, leaver.id, is_recurring=True, recurrence_pattern="daily")
    daemon, taker = connect(), connect()
    enqueue(daemon, row)

    def take() -> None:
        lose(taker, loss, leaver, stayer)
        taker.commit()

    with ThreadPoolExecutor(1) as pool:
        taken = begun(db, taker, take, pool)
        daemon.commit()
        taken.result(20)

    left = db.execute("select status, error from scheduled_messages").fetchall()
    assert [one_row["status"] for one_row in left] == ["cancelled", "cancelled"]
    assert all(ALL_LOSSES[loss] in one_row["error"] for one_row in left)
    assert one(db, "select count(*) from broadcast_jobs where status <> 'cancelled'") == 0


@pytest.mark.parametrize("loss", ALL_LOSSES)
def test_an_occurrence_that_is_enqueued_after_that_moment_is_not_there(db, leaver, stayer, connect, loss):
    row = row_in(db, "pending", leaver.connection_id, leaver.id, is_recurring=True, recurrence_pattern="daily")
    daemon, taker = connect(), connect()
    lose(taker, loss, leaver, stayer)

    enqueue(daemon, row)
    taker.commit()
    daemon.commit()
    enqueue(daemon, row)
    daemon.commit()

    assert [r["status"] for r in db.execute("select status from scheduled_messages")] == ["cancelled"]
    assert one(db, "select count(*) from broadcast_jobs") == 0


def as_user(session: Database, user: User) -> None:
    session.execute("select set_config('request.jwt.claim.sub', %s, true)", (user.id,))
    session.execute("set local role authenticated")


NEW = "insert into scheduled_messages (connection_id, contact_id, message, scheduled_at) values (%s, '1', 'Hi', now())"
RETRY = "update scheduled_messages set status = 'pending' where connection_id = %s and status = 'failed'"
BY_OWNER = {GIVEN, TAKEN, BANNED, SOFTLY_DELETED}


@pytest.mark.parametrize("write", [NEW, RETRY])
@pytest.mark.parametrize("loss", sorted(BY_OWNER))
def test_a_message_that_is_being_written_at_that_moment_does_not_escape(db, leaver, stayer, connect, loss, write):
    if write == RETRY:
        row_in(db, "failed", leaver.connection_id, leaver.id)
    writer, taker = connect(), connect()
    as_user(writer, leaver)
    assert writer.execute(write, (leaver.connection_id,)).rowcount == 1

    def take() -> None:
        lose(taker, loss, leaver, stayer)
        taker.commit()

    with ThreadPoolExecutor(1) as pool:
        taken = begun(db, taker, take, pool)
        writer.commit()
        taken.result(20)

    assert [r["status"] for r in db.execute("select status from scheduled_messages")] == ["cancelled"]


@pytest.mark.parametrize("write", [NEW, RETRY])
@pytest.mark.parametrize("loss", sorted(BY_OWNER))
def test_a_message_that_is_written_while_the_right_is_being_taken_is_refused(db, leaver, stayer, connect, loss, write):
    if write == RETRY:
        row_in(db, "failed", leaver.connection_id, leaver.id)
    writer, taker = connect(), connect()
    lose(taker, loss, leaver, stayer)

    as_user(writer, leaver)
    with pytest.raises(psycopg.Error) as refused:
        writer.execute(write, (leaver.connection_id,))
    writer.rollback()
    taker.commit()

    assert refused.value.sqlstate == "PT409"
    as_user(writer, leaver)
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        writer.execute(write, (leaver.connection_id,))
    assert one(db, "select count(*) from scheduled_messages where status = 'pending'") == 0


def test_a_retry_that_waited_while_its_connection_was_deleted_is_refused(db, leaver, connect):
    """The policies see the connection as it was when the statement began."""
    row = row_in(db, "failed", leaver.connection_id, leaver.id)
    holder, writer = connect(), connect()
    holder.execute("select from scheduled_messages where id = %s for update", (row,))
    as_user(writer, leaver)

    with ThreadPoolExecutor(1) as pool:
        retried = begun(db, writer, lambda: writer.execute(RETRY, (leaver.connection_id,)), pool)
        db.execute("delete from connections where id = %s", (leaver.connection_id,))
        holder.rollback()
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            retried.result(20)
    writer.rollback()

    assert status(db, row) == "failed"


def test_others_write_through_their_connections_while_somebody_loses_a_right(leaver, stayer, connect):
    taker = connect()
    lose(taker, GIVEN, leaver, stayer)

    draft = {"connection_id": stayer.connection_id, "contact_id": "1", "message": "Hi", "scheduled_at": "2030-01-01"}
    assert stayer.insert(**draft)["status"] == "pending"


def test_two_that_take_rights_at_once_do_not_wait_for_each_other(db, leaver, stayer, connect):
    """A ban finds the rows by their user, a gift by their connection: both lock them in the order of their ids."""
    for _ in range(50):
        row_in(db, "waiting", leaver.connection_id, leaver.id)
    before = one(db, "select deadlocks from pg_stat_database where datname = current_database()")
    sessions = connect(), connect(), connect()

    def take(session: Database, loss: str) -> None:
        lose(session, loss, leaver, stayer)
        session.commit()

    with ThreadPoolExecutor(3) as pool:
        done = [pool.submit(take, s, loss) for s, loss in zip(sessions, (BANNED, GIVEN, DELETED), strict=True)]
        for one_done in done:
            one_done.result(30)

    db.execute("select pg_stat_force_next_flush()")
    assert one(db, "select deadlocks from pg_stat_database where datname = current_database()") == before
    assert one(db, "select count(*) from scheduled_messages where status <> 'cancelled'") == 0


# Shapes of `connections` that other projects have.
SHAPES = {
    "user_id": (UPSTREAM_CONNECTIONS, "user_id"),
    "owner_id": ("create table public.connections (id text primary key, name text, owner_id uuid)", "owner_id"),
    "neither": ("create table public.connections (id text primary key, name text)", None),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_a_connection_is_given_away_in_every_shape_that_tells_its_owner(stack, shape):
    table, owner = SHAPES[shape]
    with another_database(stack["DATABASE_URL"], "shape_of_connections") as url:
        with opened(url) as fresh:
            fresh.db.execute(sql_file("platform.sql"))
            fresh.db.execute(table)
        migrate.migrate(url)
        with opened(url) as here:
            asha, ben, shop = uuid4(), uuid4(), str(uuid4())
            here.db.execute("insert into auth.users (id) values (%s), (%s)", (asha, ben))
            columns, values = (f", {owner}", f", '{asha}'") if owner else ("", "")
            here.db.execute(f"insert into connections (id, name{columns}) values ('{shop}', 'shop'{values})")
            row = row_in(here.db, "pending", shop, str(asha))

            here.db.execute(f"update connections set {owner or 'name'} = %s", (ben,))
            assert status(here.db, row) == ("cancelled" if owner else "pending")
            row = row_in(here.db, "pending", shop, str(ben))
            here.db.execute("delete from auth.users where id = %s", (ben,))
            assert status(here.db, row) == "cancelled"
            row = row_in(here.db, "pending", shop, None)
            here.db.execute("delete from connections")
            assert status(here.db, row) == "cancelled"
