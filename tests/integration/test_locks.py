"""A row that somebody holds, in a transaction that does not end, stops itself or its connection, and nobody else."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest

from tests.helpers.rows import Database, add_connections, message, one, schedule
from tests.sql.states import job_of, row_in
from worker.store.calls import Settlement

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


async def test_a_row_that_is_held_hears_of_its_outcome_later_and_the_others_at_once(db, stack, parts):
    prepare(db)
    rows = [row_in(db, "sending", "free", None) for _ in range(5)]
    jobs = [job_of(db, row) for row in rows]
    daemon = await parts()
    told = [Settlement(str(job["id"]), str(job["lease_token"]), "sent", "true_1") for job in jobs]

    with holding(stack, f"select from scheduled_messages where id = '{rows[2]}' for update"):
        await daemon.store.record(told)
        statuses = [message(db, row)["status"] for row in rows]
        assert statuses == ["sent", "sent", "processing", "sent", "sent"]
        assert job_of(db, rows[2])["status"] == "completed"
        [shown] = (await daemon.store.get_status(600))["refused"]
        assert (shown["id"], shown["code"]) == (rows[2], "55P03")

    db.execute("update private.refused_rows set again_at = now()")
    await daemon.rescue.rescue()
    assert message(db, rows[2])["status"] == "sent"


@pytest.mark.parametrize("outcome", ["sent", "retry", "stopped", "throttled_connection"])
async def test_outcomes_of_others_are_written_while_a_connection_is_held(db, stack, parts, outcome):
    prepare(db)
    rows = [row_in(db, "sending", connection, None) for connection in ("held", "free")]
    jobs = [job_of(db, row) for row in rows]
    daemon = await parts()
    told = [Settlement(str(j["id"]), str(j["lease_token"]), outcome, "true_1", "why", wait=0.0) for j in jobs]

    with holding(stack, HELD["what the limiter remembers"][0]):
        done = await daemon.store.record(told)
        assert done.refused == []
        assert {job_of(db, row)["status"] for row in rows} == {"completed" if outcome == "sent" else "queued"}
