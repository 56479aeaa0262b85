"""A series whose connection is held up: what becomes of an occurrence that still waits when another one is enqueued."""

import pytest

from tests.helpers.rows import add_connections, message, one, schedule


@pytest.fixture
async def daemon(db, parts):
    add_connections(db, "shop")
    return await parts()


def hold_up(db):
    db.execute("insert into connection_settings (connection_id, enabled) values ('shop', false)")


def make_due(db, row_id):
    """As if its time had come: not an edit, so without the triggers."""
    with db.transaction():
        db.execute("set local session_replication_role = replica")
        db.execute(
            "update scheduled_messages set scheduled_at = now() - interval '1 second' where id = %s returning id",
            (row_id,),
        )


def successor(db, row_id):
    return one(db, "select next_id::text from scheduled_messages where id = %s", row_id)


async def test_an_occurrence_that_still_waits_fails_when_the_next_one_is_enqueued(db, daemon):
    hold_up(db)
    first = schedule(db, is_recurring=True, recurrence_pattern="daily")
    await daemon.scheduler.poll()
    second = successor(db, first)
    make_due(db, second)

    await daemon.scheduler.poll()

    assert message(db, first)["status"] == "failed"
    assert "Superseded" in message(db, first)["error"]
    assert message(db, second)["status"] == "processing"


async def test_an_occurrence_that_still_waits_is_kept_when_the_next_one_can_not_be_sent(db, daemon):
    hold_up(db)
    first = schedule(db, is_recurring=True, recurrence_pattern="daily")
    await daemon.scheduler.poll()
    second = successor(db, first)
    db.execute("update scheduled_messages set contact_id = 'nobody' where id = %s", (second,))
    make_due(db, second)

    await daemon.scheduler.poll()

    assert (message(db, first)["status"], message(db, second)["status"]) == ("processing", "failed")


async def test_the_retry_of_an_old_occurrence_leaves_a_newer_one_that_waits_alone(db, daemon):
    first = schedule(db, is_recurring=True, recurrence_pattern="daily", contact_id="nobody")
    await daemon.scheduler.poll()
    assert message(db, first)["status"] == "failed"
    hold_up(db)
    second = successor(db, first)
    db.execute("update scheduled_messages set contact_id = '+919876500000' where id = %s", (second,))
    make_due(db, second)
    await daemon.scheduler.poll()

    db.execute("update scheduled_messages set contact_id = '+919876500000', status = 'pending' where id = %s", (first,))
    await daemon.scheduler.poll()

    assert (message(db, first)["status"], message(db, second)["status"]) == ("processing", "processing")
