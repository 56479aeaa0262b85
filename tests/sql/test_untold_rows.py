"""A row that has not heard yet what became of it: somebody held it, or the project refused. Nobody sends it twice."""

import httpx
import psycopg
import pytest

from tests.helpers.foreign import having, refusing
from tests.helpers.rows import Database, message, one
from tests.sql.states import answered, job_of, row_in, status
from tests.sql.test_state_machine import patch, refused

EDITS = [{"message": "Other"}, {"status": "pending"}, {"status": "cancelled"}, {"scheduled_at": "2030-01-01"}]
NO_UNCONFIRMED = """
alter table scheduled_messages add constraint own_status
check (status in ('pending', 'processing', 'sent', 'failed', 'cancelled')) not valid
"""


@pytest.fixture
def mine(db, tenants):
    owner, _ = tenants
    return lambda state, **columns: row_in(db, state, owner.connection_id, owner.id, **columns)


def untold(db: Database, stack: dict[str, str], row: str, outcome: str, before: str = "select") -> None:
    """The daemon records this while another transaction, which has run `before`, holds the row."""
    with psycopg.connect(stack["DATABASE_URL"]) as other:
        other.execute(before)
        other.execute(f"select from scheduled_messages where id = '{row}' for update")
        answered(db, row, outcome)
        other.commit()
    assert one(db, "select step from private.refused_rows") == "settle"


def rescued(service: httpx.Client, db: Database) -> None:
    db.execute("update private.refused_rows set again_at = now()")
    service.post("/rpc/rescue_broadcast_jobs", json={}).raise_for_status()
    assert not one(db, "select count(*) from private.refused_rows")


@pytest.mark.parametrize("outcome", ["sent", "unconfirmed"])
@pytest.mark.parametrize("edit", EDITS, ids=str)
def test_its_author_may_not_change_it_and_it_hears_later(db, stack, tenants, service, mine, outcome, edit):
    row = mine("sending")
    untold(db, stack, row, outcome)

    assert "sent" in refused(patch(tenants[0].http, row, **edit))
    assert status(db, row) == "processing"

    rescued(service, db)
    assert status(db, row) == outcome


@pytest.mark.parametrize("outcome", ["sent", "unconfirmed"])
def test_the_service_key_does_not_make_it_pending_either(db, stack, service, mine, outcome):
    row = mine("sending")
    untold(db, stack, row, outcome)

    patch(service, row, status="pending").raise_for_status()

    assert status(db, row) == "processing"
    rescued(service, db)
    assert status(db, row) == outcome


@pytest.mark.parametrize("outcome", ["sent", "unconfirmed"])
def test_nor_where_it_was_cancelled_while_it_was_being_sent(db, stack, tenants, service, mine, outcome):
    row = mine("sending")
    db.execute("update scheduled_messages set status = 'cancelled', error = 'Lost.' where id = %s", (row,))
    untold(db, stack, row, outcome)

    refused(patch(tenants[0].http, row, status="pending"))
    patch(service, row, status="pending").raise_for_status()

    assert status(db, row) == "cancelled"
    rescued(service, db)
    assert status(db, row) == outcome


def test_what_was_not_sent_may_be_edited_at_once(db, stack, tenants, service, mine):
    row = mine("sending")
    untold(db, stack, row, "failed")

    patch(tenants[0].http, row, message="Other", status="pending").raise_for_status()

    rescued(service, db)
    assert (status(db, row), message(db, row)["message"]) == ("pending", "Other")


@pytest.mark.parametrize("outcome", ["sent", "unconfirmed"])
def test_it_may_be_deleted_and_nothing_is_left_of_it(db, stack, tenants, service, mine, outcome):
    row = mine("sending")
    untold(db, stack, row, outcome)

    tenants[0].delete(row)

    rescued(service, db)
    assert not one(db, "select count(*) from scheduled_messages")
    assert not one(db, "select count(*) from broadcast_jobs where message is not null")


@pytest.mark.parametrize("deleted", ["broadcast_messages", "broadcast_jobs", "both"])
def test_it_hears_of_it_also_where_somebody_has_deleted_what_was_known(db, stack, tenants, service, mine, deleted):
    row = mine("sending")
    untold(db, stack, row, "sent")
    for table in ("broadcast_messages", "broadcast_jobs"):
        if deleted in (table, "both"):
            db.execute(f"delete from {table}")

    refused(patch(tenants[0].http, row, status="pending"))

    rescued(service, db)
    assert (status(db, row), message(db, row)["message_id"]) == ("sent", "true_1")


def test_a_project_that_does_not_know_the_state_keeps_it_from_being_sent_again(db, tenants, service, mine):
    with having(db, NO_UNCONFIRMED, "alter table scheduled_messages drop constraint own_status"):
        row = mine("sending")
        answered(db, row, "unconfirmed")
        assert (status(db, row), job_of(db, row)["status"]) == ("processing", "unconfirmed")

        refused(patch(tenants[0].http, row, status="pending"))
        patch(service, row, status="pending").raise_for_status()
        assert status(db, row) == "processing"

        [known] = service.post("/rpc/resolve_scheduled_message", json={"p_id": row, "p_outcome": "sent"}).json()
        assert (known["id"], status(db, row)) == (row, "sent")


def test_a_message_that_refuses_to_be_told_again_stays_aside_alone(db, stack, service, mine):
    rows = [mine("sending") for _ in range(3)]
    for row in rows:
        untold_one = f"select from scheduled_messages where id = '{row}' for update"
        with psycopg.connect(stack["DATABASE_URL"]) as other:
            other.execute(untold_one)
            answered(db, row, "sent")
    db.execute("update private.refused_rows set again_at = now()")

    with refusing(db, "broadcast_messages", f"new.scheduled_message_id = '{rows[1]}'", on="update"):
        service.post("/rpc/rescue_broadcast_jobs", json={}).raise_for_status()
        assert [status(db, row) for row in rows] == ["sent", "processing", "sent"]

    rescued(service, db)
    assert status(db, rows[1]) == "sent"
