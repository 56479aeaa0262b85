"""An owner changes a row between the daemon's steps. Each step is called by hand, so that the order is certain."""

import httpx
import psycopg
import pytest

from tests.helpers.counting_gateway import CountingGateway
from tests.helpers.polling import until
from tests.helpers.rows import add_connections, message, one, schedule, schedule_many
from worker.planning import plan


@pytest.fixture
def owned(db, user):
    """A user and a due message of theirs."""
    owner = user()
    now = one(db, "select now()").isoformat()
    row = owner.insert(
        connection_id=owner.connection_id, contact_id="+919876500001", message="Old text", scheduled_at=now
    )
    return owner, row["id"]


async def test_an_edit_after_the_row_was_read_wins_and_is_not_half_applied(db, parts, owned):
    owner, row = owned
    daemon = await parts()
    [read] = await daemon.store.get_pending()
    stale = plan.decide(read, None, daemon.scheduler.settings, daemon.store.clock.now())

    owner.update(row, message="New text")

    assert (await daemon.store.enqueue([stale])).ids == []
    assert message(db, row)["status"] == "pending"
    await daemon.scheduler.poll()
    await daemon.dispatcher.send_all()
    assert message(db, row)["status"] == "sent"
    assert one(db, "select string_agg(message, '|') from broadcast_jobs") == "New text"


async def test_a_contacts_number_that_changes_after_it_was_read_is_not_written_to(db, parts, user):
    owner = user()
    sql = "insert into contacts (owner_id, phone_number) values (%s, '+919876500001') returning id::text"
    contact = one(db, sql, owner.id)
    row = owner.insert(
        connection_id=owner.connection_id, contact_id=contact, message="Hello", scheduled_at="2026-01-01T00:00:00Z"
    )["id"]
    daemon = await parts()
    [read] = await daemon.store.get_pending()
    known = (await daemon.store.look_up_recipients([row]))[row]
    stale = plan.decide(read, known, daemon.scheduler.settings, daemon.store.clock.now())

    db.execute("update contacts set phone_number = '+919876500002'")

    assert (await daemon.store.enqueue([stale])).ids == []
    await daemon.scheduler.poll()
    await daemon.dispatcher.send_all()
    assert message(db, row)["status"] == "sent"
    assert one(db, "select string_agg(recipient, '|') from broadcast_jobs") == "+919876500002"


async def test_a_waiting_message_that_is_cancelled_is_not_sent(db, parts, owned):
    owner, row = owned
    daemon = await parts()
    await daemon.scheduler.poll()
    assert message(db, row)["status"] == "processing"

    owner.update(row, status="cancelled")

    await daemon.dispatcher.send_all()
    assert message(db, row)["status"] == "cancelled"
    assert one(db, "select status from broadcast_jobs") == "cancelled"
    assert one(db, "select attempts from broadcast_jobs") == 0


async def test_a_waiting_message_that_is_edited_goes_out_in_its_new_form_alone(db, parts, owned):
    owner, row = owned
    daemon = await parts()
    await daemon.scheduler.poll()

    owner.update(row, message="New text")

    assert message(db, row)["status"] == "pending"
    await daemon.scheduler.poll()
    await daemon.dispatcher.send_all()
    assert message(db, row)["status"] == "sent"
    assert one(db, "select string_agg(message, '|') from broadcast_jobs where status = 'completed'") == "New text"


async def test_a_waiting_message_that_is_deleted_is_not_sent_and_does_no_harm(db, parts, owned):
    owner, row = owned
    daemon = await parts()
    add_connections(db, "shop")
    other = schedule(db)
    await daemon.scheduler.poll()

    owner.delete(row)

    await daemon.dispatcher.send_all()
    assert one(db, "select count(*) from broadcast_messages where status = 'sent'") == 1
    assert message(db, other)["status"] == "sent"


def test_a_message_that_is_being_sent_cannot_be_changed_and_says_so(db, daemon, owned):
    owner, row = owned
    with CountingGateway(delay=2) as gateway:
        daemon(GATEWAY="waha", WAHA_URL=gateway.url)
        until(lambda: gateway.received, 15, "the gateway being asked")
        answers = [
            owner.http.patch("/scheduled_messages", params={"id": f"eq.{row}"}, json={"message": "Too late"}),
            owner.http.patch("/scheduled_messages", params={"id": f"eq.{row}"}, json={"status": "cancelled"}),
            owner.http.delete("/scheduled_messages", params={"id": f"eq.{row}"}),
        ]
        until(lambda: message(db, row)["status"] == "sent", 15)

    assert [answer.status_code for answer in answers] == [409, 409, 409]
    assert all("is being sent right now" in answer.json()["message"] for answer in answers)
    assert message(db, row)["message"] == "Old text"


def test_a_row_that_disappears_while_it_is_being_sent_does_no_harm(db, daemon):
    add_connections(db, "shop")
    gone = schedule(db)
    with CountingGateway(delay=1) as gateway:
        worker = daemon(GATEWAY="waha", WAHA_URL=gateway.url)
        until(lambda: gateway.received, 15, "the gateway being asked")
        db.execute("delete from scheduled_messages where id = %s", (gone,))
        following = schedule(db)
        until(lambda: message(db, following)["status"] == "sent", 20, lambda: worker.text)

    assert len(gateway.received) == 2
    assert not [line for line in worker.lines if line["level"] == "error"]


def test_a_sent_message_cannot_be_changed_and_its_owner_is_told_why(db, owned):
    owner, row = owned
    db.execute("update scheduled_messages set status = 'sent', sent_at = now(), message_id = 'x'")

    with pytest.raises(httpx.HTTPStatusError) as refused:
        owner.update(row, message="Too late")

    assert refused.value.response.status_code == 409
    assert "already sent" in refused.value.response.json()["message"]


async def test_a_page_of_rows_that_somebody_holds_does_not_hold_up_the_next(db, stack, parts):
    schedule_many(db, 1005)
    daemon = await parts()
    with psycopg.connect(stack["DATABASE_URL"]) as holder:
        holder.execute("select from scheduled_messages order by scheduled_at, id limit 1000 for update")
        assert await daemon.scheduler.poll() == 5

    assert await daemon.scheduler.poll() == 1000
