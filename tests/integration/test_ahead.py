"""What falls due in a moment is claimed a moment early, with its instant for a slot; nothing else is."""

from uuid import uuid4

import pytest

from tests.helpers.polling import until
from tests.helpers.rows import due_in, message, one
from worker.jobs import Decision


@pytest.fixture
async def store(parts):
    return (await parts()).store


async def claimed(store, row: str, ahead: float):
    planned = Decision(row, 0, str(uuid4()), "+919876500000")
    return await store.claim(20, "mock", 60, rows=[planned], early=ahead)


async def test_a_row_that_is_due_in_a_moment_is_claimed_to_be_dialled_on_its_instant(db, store):
    row = due_in(db, 0.8)
    [job] = (await claimed(store, row, 0.9)).jobs
    assert job.send_at == message(db, row)["scheduled_at"]
    assert message(db, row)["status"] == "processing"


@pytest.mark.parametrize(("seconds", "ahead"), [(0.8, 0.0), (30, 0.9), (30, 60)])
async def test_no_row_is_taken_earlier_than_asked_for_nor_more_than_a_second_early(db, store, seconds, ahead):
    row = due_in(db, seconds)
    assert (await claimed(store, row, ahead)).jobs == []
    assert message(db, row)["status"] == "pending"


async def test_on_a_paced_connection_it_waits_for_its_instant_like_any_job(db, store):
    row = due_in(db, 0.8)
    db.execute("insert into connection_settings (connection_id, messages, period_seconds) values ('shop', 1, 12)")
    claim = await claimed(store, row, 0.9)
    instant = message(db, row)["scheduled_at"]
    assert claim.jobs == []
    assert claim.next_ready_at is not None
    assert claim.next_ready_at <= instant
    until(lambda: one(db, "select now() > %s", instant))
    [job] = (await store.claim(20, "mock", 60)).jobs
    assert job.send_at >= instant
