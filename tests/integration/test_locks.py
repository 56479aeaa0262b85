"""A row that somebody holds, in a transaction that does not end, stops itself or its connection, and nobody else."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest

from tests.helpers.nouns import settlement
from tests.helpers.polling import auntil
from tests.helpers.rows import Database, add_connections, message, one, schedule
from tests.sql.states import job_of, row_in

SETTINGS = "insert into connection_settings (connection_id) values ('held')"
# What a tenant, an application or an operator may hold; and whether its connection's messages wait for it.
HELD = {
    "the settings of a connection": ("update connection_settings set burst = 1 where connection_id = 'held'", True),
    "a connection": ("update connections set connected = not connected where id = 'held'", True),
    "a connection's name": ("update connections set name = 'other' where id = 'held'", False),
    "a connection, to delete it": ("delete from connections where id = 'held'", True),
    "what the limiter remembers": (
        "select from private.connection_state where connection_id = 'held' for update",
        True,
    ),
}


@pytest.fixture
def plain(db: Database) -> Iterator[None]:
    """Who migrates is no member of pg_monitor: so everything is told of at once, whatever its age (test_holders)."""
    before = one(db, "select proowner::regrole from pg_proc where oid = 'private.get_holders()'::regprocedure")
    db.execute("create role plain_migrator; grant usage, create on schema private to plain_migrator")
    db.execute("alter function private.get_holders() owner to plain_migrator")
    yield
    db.execute(f"alter function private.get_holders() owner to {before}")
    db.execute("drop owned by plain_migrator; drop role plain_migrator")


@contextmanager
def holding(stack: dict[str, str], statement: str) -> Iterator[None]:
    """An idle transaction that has run this."""
    with psycopg.connect(stack["DATABASE_URL"]) as other:
        other.execute(statement)
        yield
        other.rollback()


async def go(parts) -> None:
    await parts.scheduler.poll()
    await parts.dispatcher.send_all()


def prepare(db: Database) -> None:
    add_connections(db, "held", "free")
    db.execute(SETTINGS)
    db.execute("select private.announce_work(array['held', 'free'], array[now(), now()])")


@pytest.mark.parametrize("name", HELD)
async def test_what_holds_one_connection_stops_no_other(db, stack, parts, name):
    statement, waits = HELD[name]
    prepare(db)
    daemon = await parts()
    theirs, ours = schedule(db, connection_id="held"), schedule(db, connection_id="free")

    with holding(stack, statement):
        await go(daemon)
        assert message(db, ours)["status"] == "sent"
        assert message(db, theirs)["status"] in (
            {"processing", "pending"} if waits else {"processing", "pending", "sent"}
        )

    db.execute("update private.refused_rows set again_at = now()")
    await daemon.rescue.rescue()
    await go(daemon)
    assert message(db, theirs)["status"] == "sent"
    assert not one(db, "select count(*) from private.refused_rows")


async def test_what_was_put_aside_is_written_in_a_second_though_the_next_poll_is_far(db, stack, parts):
    daemon, stop = await parts(poll_interval_seconds=300), asyncio.Event()
    add_connections(db, "free")
    row = schedule(db, connection_id="free")
    await daemon.scheduler.poll()
    with holding(stack, f"select from scheduled_messages where id = '{row}' for update"):
        await daemon.dispatcher.send_all()
    assert message(db, row)["status"] == "processing"

    rescuing = asyncio.create_task(daemon.rescue.run(stop))
    await auntil(lambda: message(db, row)["status"] == "sent", 20)

    stop.set()
    rescuing.cancel()


PHONE = "+919876500000"
# What of somebody's message may be held when it has a job, or is about to; which table is said to be held, where the
# daemon needs it; and whether the message waits for that.
LATER = {
    "its job": ("select from broadcast_jobs for update", "broadcast_jobs", True),
    "its entry in broadcast_messages": ("select from broadcast_messages for update", "broadcast_messages", True),
    "its contact": ("update contacts set is_blocked = false", None, False),
    "its contact, to delete it": ("delete from contacts", None, False),
    "its recipient": ("select from private.recipient_state for update", "recipient_state", True),
    "its job, to delete it": ("delete from broadcast_jobs", "broadcast_jobs", True),
}


@pytest.mark.parametrize("name", LATER)
async def test_what_is_held_of_a_message_with_a_job_stops_no_other(db, stack, parts, plain, name):
    """However long: whoever waited for it would wait for as long as this test holds it."""
    statement, table, waits = LATER[name]
    prepare(db)
    db.execute("update connection_settings set recipient_interval_seconds = 1")
    asha = one(db, "insert into contacts (owner_id, phone_number) values (null, %s) returning id::text", PHONE)
    assert asha
    daemon = await parts()
    theirs = schedule(db, connection_id="held", contact_id=PHONE)
    await daemon.scheduler.poll()
    db.execute(
        "insert into private.recipient_state (connection_id, recipient, free_at) values ('held', %s, now())", (PHONE,)
    )

    with holding(stack, statement):
        held = [tables for one_held in await daemon.store.get_holders() for tables in one_held.tables]
        assert (table in held) if table else held == [], "said by doctor, status, healthz and the log (test_holders)"
        for number in range(3):
            ours = schedule(db, connection_id="free", contact_id=f"+9198765000{number:02}")
            await go(daemon)
            assert message(db, ours)["status"] == "sent"
        assert waits == (message(db, theirs)["status"] != "sent")

    db.execute("update private.refused_rows set again_at = now()")
    db.execute("update private.connection_state set ready_at = now()")
    await daemon.rescue.rescue()
    await go(daemon)
    assert message(db, theirs)["status"] == "sent"
    db.execute("update private.refused_rows set again_at = now()")
    await daemon.rescue.rescue()
    assert not one(db, "select count(*) from private.refused_rows")


@pytest.mark.parametrize(
    ("statement", "waits"),
    [("select from auth.users for update", True), ("update auth.users set email = email", False)],
)
async def test_a_user_who_is_held_stops_only_the_series_of_that_user(db, stack, parts, plain, user, statement, waits):
    """The next occurrence refers to its author."""
    held = user()
    add_connections(db, "free")
    daemon = await parts()
    series = held.insert(
        connection_id=held.connection_id, contact_id=PHONE, message="mine", scheduled_at="2031-01-01",
        is_recurring=True, recurrence_pattern="daily",
    )  # fmt: skip
    db.execute("update scheduled_messages set scheduled_at = now()")
    ours = [schedule(db, connection_id="free", contact_id=f"+9198765000{number:02}") for number in range(3)]

    with holding(stack, statement):
        assert ["users" in one_held.tables for one_held in await daemon.store.get_holders()] == [True]
        await go(daemon)
        assert [message(db, row)["status"] for row in ours] == ["sent"] * 3
        assert message(db, series["id"])["status"] == ("pending" if waits else "sent")

    db.execute("update private.refused_rows set again_at = now()")
    await daemon.rescue.rescue()
    await go(daemon)
    found = message(db, series["id"])
    assert (found["status"], found["next_id"] is not None) == ("sent", True)


async def test_a_row_that_is_held_hears_of_its_outcome_later_and_the_others_at_once(db, stack, parts):
    prepare(db)
    rows = [row_in(db, "sending", "free", None) for _ in range(5)]
    jobs = [job_of(db, row) for row in rows]
    daemon = await parts()
    told = [settlement(str(job["id"]), "sent", str(job["lease_token"]), message_id="true_1") for job in jobs]

    with holding(stack, f"select from scheduled_messages where id = '{rows[2]}' for update"):
        await daemon.store.record(told)
        statuses = [message(db, row)["status"] for row in rows]
        assert statuses == ["sent", "sent", "processing", "sent", "sent"]
        assert job_of(db, rows[2])["status"] == "completed"
        [shown] = (await daemon.store.get_status(600)).refused
        assert (shown.id, shown.code) == (rows[2], "55P03")

    db.execute("update private.refused_rows set again_at = now()")
    await daemon.rescue.rescue()
    assert message(db, rows[2])["status"] == "sent"


@pytest.mark.parametrize("outcome", ["sent", "retry", "stopped", "throttled_connection"])
async def test_outcomes_of_others_are_written_while_a_connection_is_held(db, stack, parts, outcome):
    prepare(db)
    rows = [row_in(db, "sending", connection, None) for connection in ("held", "free")]
    jobs = [job_of(db, row) for row in rows]
    daemon = await parts()
    told = [
        settlement(str(j["id"]), outcome, str(j["lease_token"]), message_id="true_1", error="why", wait=0.0)
        for j in jobs
    ]

    with holding(stack, HELD["what the limiter remembers"][0]):
        done = await daemon.store.record(told)
        assert done.refused == []
        assert {job_of(db, row)["status"] for row in rows} == {"completed" if outcome == "sent" else "queued"}
