"""What a deleted user or connection leaves behind: history, and nothing that is still sent."""

import pytest

from tests.helpers.rows import Database, add_connections, message, one
from tests.sql.states import STATES, answered, job_of, row_in, status

# What becomes of a row in each state when its user, or its connection, is deleted.
AFTERWARDS = {state: state if state in ("sent", "failed", "unconfirmed") else "cancelled" for state in STATES}


def delete_user(db: Database, user: str) -> None:
    """As the auth server does it: under its own role, which owns auth.users and has no right to our tables."""
    with db.transaction():
        db.execute("set local role authenticator")
        assert db.execute("delete from auth.users where id = %s", (user,)).rowcount == 1


@pytest.fixture
def leaver(user):
    """Somebody with a connection who may be deleted."""
    return user()


def test_deleting_a_user_works_whatever_state_the_rows_are_in_and_keeps_every_row(db, leaver):
    rows = {state: row_in(db, state, leaver.connection_id, leaver.id) for state in STATES}

    delete_user(db, leaver.id)

    assert {state: status(db, row) for state, row in rows.items()} == AFTERWARDS
    assert job_of(db, rows["waiting"])["status"] == "cancelled"
    assert "account" in message(db, rows["pending"])["error"]
    assert message(db, rows["sent"])["error"] is None


async def test_the_messages_of_a_deleted_user_are_not_sent_and_those_of_the_service_key_are(
    db, stack, leaver, user, parts
):
    stayer = user()
    orphan = row_in(db, "pending", leaver.connection_id, leaver.id)
    written_for_them = row_in(db, "pending", stayer.connection_id, None, owner_id=leaver.id)
    of_the_service = row_in(db, "pending", stayer.connection_id, None)
    of_another = row_in(db, "pending", stayer.connection_id, stayer.id)
    delete_user(db, leaver.id)

    daemon = await parts()
    await daemon.scheduler.poll()
    await daemon.dispatcher.send_all()

    assert (status(db, orphan), status(db, written_for_them)) == ("cancelled", "cancelled")
    assert (status(db, of_the_service), status(db, of_another)) == ("sent", "sent")


@pytest.mark.parametrize("first", [0, 1])
def test_a_row_of_two_users_is_sent_until_the_last_of_them_is_deleted(db, user, first):
    creator, owner = user(), user()
    row = row_in(db, "pending", owner.connection_id, creator.id, owner_id=owner.id)

    delete_user(db, (creator, owner)[first].id)
    assert status(db, row) == "pending"
    delete_user(db, (creator, owner)[1 - first].id)
    assert status(db, row) == "cancelled"


def test_a_message_that_was_being_sent_when_its_user_was_deleted_tells_what_became_of_it(db, leaver):
    gone_out, refused = (row_in(db, "sending", leaver.connection_id, leaver.id) for _ in range(2))
    delete_user(db, leaver.id)

    answered(db, gone_out, "sent")
    answered(db, refused, "retry")

    assert (status(db, gone_out), status(db, refused)) == ("sent", "cancelled")
    assert job_of(db, refused)["status"] == "cancelled"


def test_the_token_of_a_deleted_user_schedules_nothing(db, leaver):
    delete_user(db, leaver.id)

    row = {"connection_id": leaver.connection_id, "contact_id": "1", "message": "Hello", "scheduled_at": "2030-01-01"}
    assert leaver.http.post("/scheduled_messages", json=row).is_client_error
    assert one(db, "select count(*) from scheduled_messages") == 0


def test_an_operator_who_clears_the_author_of_a_row_cancels_nothing(db, tenants):
    row = row_in(db, "pending", tenants[0].connection_id, tenants[0].id)

    db.execute("update scheduled_messages set created_by = null, owner_id = null where id = %s", (row,))

    assert status(db, row) == "pending"


def test_as_the_owner_deleting_a_connection_cancels_what_waits_and_keeps_every_row(db, tenants):
    owner, _ = tenants
    rows = {state: row_in(db, state, owner.connection_id, owner.id) for state in STATES}
    add_connections(db, "another")
    elsewhere = row_in(db, "pending", "another", owner.id)

    assert owner.http.delete("/connections", params={"id": f"eq.{owner.connection_id}"}).is_success

    assert {state: status(db, row) for state, row in rows.items()} == AFTERWARDS
    assert "connection" in message(db, rows["waiting"])["error"]
    assert job_of(db, rows["waiting"])["status"] == "cancelled"
    assert status(db, elsewhere) == "pending"


def test_as_the_owner_a_message_whose_connection_is_gone_is_retried_through_another_alone(db, tenants):
    owner, _ = tenants
    row = row_in(db, "failed", "gone", owner.id)
    edit = {"params": {"id": f"eq.{row}"}, "json": {"status": "pending"}}

    assert owner.http.patch("/scheduled_messages", **edit).status_code == 403
    edit["json"]["connection_id"] = owner.connection_id
    assert owner.http.patch("/scheduled_messages", **edit).is_success
    assert status(db, row) == "pending"
