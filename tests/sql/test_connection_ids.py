"""A connection's id is nobody's but its owner's: what is kept under it is not taken over with it."""

from uuid import uuid4

import pytest

from tests.helpers.counting_gateway import CountingGateway
from tests.helpers.rows import message, one
from tests.sql.states import row_in, status


@pytest.fixture
def waha():
    with CountingGateway() as gateway:
        yield gateway


async def send_what_is_due(parts, gateway):
    daemon = await parts(gateway="waha", waha_url=gateway.url)
    await daemon.scheduler.poll()
    await daemon.dispatcher.send_all()


def sessions(gateway):
    return [one_sent.session for one_sent in gateway.received]


def test_a_switch_off_and_limits_outlive_a_deletion(db, tenants):
    mine = tenants[0]
    db.execute("insert into connection_settings (connection_id, enabled, daily_limit) values (%s, false, 7)",
               (mine.connection_id,))  # fmt: skip

    assert mine.http.delete("/connections", params={"id": f"eq.{mine.connection_id}"}).is_success
    mine.insert("connections", id=mine.connection_id, name="again")

    kept = db.execute("select enabled, daily_limit from connection_settings").fetchall()
    assert kept == [{"enabled": False, "daily_limit": 7}]
    assert one(db, "select coalesce(bool_or(is_held), false) from private.connection_owners") is False


def test_the_days_count_outlives_a_deletion(db, tenants):
    mine = tenants[0]
    sql = "insert into private.connection_state (connection_id, day, sent_today) values (%s, current_date, 9)"
    db.execute(sql, (mine.connection_id,))

    mine.http.delete("/connections", params={"id": f"eq.{mine.connection_id}"})
    mine.insert("connections", id=mine.connection_id, name="again")

    assert one(db, "select sent_today from private.connection_state") == 9


@pytest.mark.parametrize("sender", [None, "victims-phone"])
async def test_whoever_takes_a_deleted_connections_id_reaches_nobodys_session_until_released(
    db, tenants, parts, waha, service, sender
):
    victim, other = tenants
    if sender:
        db.execute("insert into connection_settings (connection_id, sender) values (%s, %s)",
                   (victim.connection_id, sender))  # fmt: skip
    victim.http.delete("/connections", params={"id": f"eq.{victim.connection_id}"})
    other.insert("connections", id=victim.connection_id, name="taken")
    row = row_in(db, "pending", victim.connection_id, other.id)

    await send_what_is_due(parts, waha)
    assert waha.received == []
    assert "another account" in message(db, row)["waiting_reason"]

    assert service.post("/rpc/forget_connection", json={"p_connection_id": victim.connection_id}).json() is True
    await send_what_is_due(parts, waha)
    assert (sessions(waha), status(db, row)) == ([victim.connection_id], "sent")


async def test_an_id_that_a_user_makes_up_is_no_sessions_name_until_the_operator_says_so(db, tenants, parts, waha):
    other = tenants[1]
    other.insert("connections", id="default", name="mine")
    row = row_in(db, "pending", "default", other.id)

    await send_what_is_due(parts, waha)
    assert waha.received == []
    assert "session" in message(db, row)["waiting_reason"]

    db.execute("insert into connection_settings (connection_id, sender) values ('default', 'bens-phone')")
    await send_what_is_due(parts, waha)
    assert sessions(waha) == ["bens-phone"]


async def test_the_session_that_the_operator_gave_to_one_is_not_reached_by_anothers_id(db, tenants, parts, waha):
    victim, other = tenants
    session = str(uuid4())
    db.execute(
        "insert into connection_settings (connection_id, sender) values (%s, %s)", (victim.connection_id, session)
    )
    other.insert("connections", id=session, name="mine")
    mine = row_in(db, "pending", victim.connection_id, victim.id)
    theirs = row_in(db, "pending", session, other.id)

    await send_what_is_due(parts, waha)

    assert (sessions(waha), status(db, mine), status(db, theirs)) == ([session], "sent", "processing")


async def test_what_the_operator_and_the_default_have_named_sends_out_of_the_box(db, tenants, parts, waha):
    db.execute("insert into connections (id, name) values ('sales', 'sales'), ('promo', 'promo')")
    db.execute("insert into connection_settings (connection_id, sender) values ('promo', 'sales')")
    rows = [row_in(db, "pending", name, None) for name in ("sales", "promo")]
    own = tenants[0].insert("connections", name="generated")
    rows.append(row_in(db, "pending", own["id"], tenants[0].id))

    await send_what_is_due(parts, waha)

    assert {status(db, row) for row in rows} == {"sent"}
    assert sorted(sessions(waha)) == sorted(["sales", "sales", own["id"]])


async def test_a_rename_to_a_deleted_connections_id_takes_nothing_over_either(db, tenants, parts, waha):
    victim, other = tenants
    victim.http.delete("/connections", params={"id": f"eq.{victim.connection_id}"})
    renamed = other.http.patch(
        "/connections", params={"id": f"eq.{other.connection_id}"}, json={"id": victim.connection_id}
    )
    row_in(db, "pending", victim.connection_id, other.id)

    await send_what_is_due(parts, waha)

    assert renamed.is_success
    assert waha.received == []
