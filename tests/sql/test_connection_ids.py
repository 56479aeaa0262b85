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


def remove(owner, connection):
    assert owner.http.delete("/connections", params={"id": f"eq.{connection}"}).is_success


@pytest.fixture
def open_connections(db):
    """An application whose users may write all connections, those of nobody too."""
    db.execute("create policy everybody on connections for all to authenticated using (true) with check (true)")
    yield
    db.execute("drop policy everybody on connections")


async def test_whoever_deletes_what_he_took_has_not_made_it_his_and_its_owner_has_it_back(db, tenants, parts, waha):
    victim, other = tenants
    taken = victim.connection_id
    remove(victim, taken)
    for _ in range(2):
        other.insert("connections", id=taken, name="taken")
        theirs = row_in(db, "pending", taken, other.id)
        await send_what_is_due(parts, waha)
        assert (waha.received, status(db, theirs)) == ([], "processing")
        remove(other, taken)

    victim.insert("connections", id=taken, name="back")
    mine = row_in(db, "pending", taken, victim.id)
    await send_what_is_due(parts, waha)

    assert (sessions(waha), status(db, mine)) == ([taken], "sent")


@pytest.mark.parametrize("how", ["inserted", "renamed"])
async def test_owning_nothing_takes_nothing_over_and_the_service_key_may(
    db, tenants, parts, waha, service, open_connections, how
):
    victim, other = tenants
    taken = victim.connection_id
    remove(victim, taken)
    if how == "inserted":
        other.insert("connections", id=taken, name="nobody's", user_id=None)
    else:
        mine = other.insert("connections", name="nobody's", user_id=None)["id"]
        other.http.patch("/connections", params={"id": f"eq.{mine}"}, json={"id": taken}).raise_for_status()
    row_in(db, "pending", taken, other.id)
    await send_what_is_due(parts, waha)
    assert waha.received == []

    remove(other, taken)
    service.post("/connections", json={"id": taken, "name": "nobody's", "user_id": None}).raise_for_status()
    row_in(db, "pending", taken, None)
    await send_what_is_due(parts, waha)
    assert sessions(waha) == [taken]


@pytest.mark.parametrize(("back", "sends"), [(True, True), (False, False)], ids=["to its owner", "to a third"])
async def test_what_is_held_and_given_away_is_free_again_with_its_owner_alone(
    db, tenants, parts, waha, service, user, back, sends
):
    victim, other = tenants
    taken, third = victim.connection_id, user()
    remove(victim, taken)
    other.insert("connections", id=taken, name="taken")
    to = victim if back else third

    service.patch("/connections", params={"id": f"eq.{taken}"}, json={"user_id": to.id}).raise_for_status()
    row = row_in(db, "pending", taken, to.id)
    await send_what_is_due(parts, waha)

    assert status(db, row) == ("sent" if sends else "processing")


GENERATED = "0f8fad5b-d9cb-469f-a165-70867728950e"


async def test_only_an_id_that_looks_generated_is_trusted_as_a_sessions_name(db, tenants, parts, waha):
    mine = tenants[1]
    made_up = ["default", f"{GENERATED}-2", f"x{GENERATED}", f"{GENERATED} ", GENERATED.upper(), GENERATED[:-1],
               GENERATED.replace("-", ""), ""]  # fmt: skip
    for connection in (*made_up, GENERATED):
        mine.insert("connections", id=connection, name="mine")
        row_in(db, "pending", connection, mine.id)

    await send_what_is_due(parts, waha)

    assert sessions(waha) == [GENERATED]
    reasons = db.execute("select distinct waiting_reason from scheduled_messages where status = 'processing'")
    assert [row["waiting_reason"] for row in reasons] == [
        "nobody has confirmed which session is this connection's; the operator can name it"
    ]


def test_forgetting_ends_all_that_is_kept_but_what_waits(db, tenants, service):
    mine = tenants[0].connection_id
    db.execute("insert into connection_settings (connection_id, daily_limit) values (%s, 7)", (mine,))
    db.execute(
        """
        insert into private.connection_state (
            connection_id, day, sent_today, paused_reason, probe_at, throttle_seconds, throttled_until, arrival_at,
            ready_at
        ) values (%s, current_date, 9, 'away', now(), 8, now(), now() + interval '1 h', 'infinity')
        """,
        (mine,),
    )

    assert service.post("/rpc/forget_connection", json={"p_connection_id": mine}).json() is True

    names = ("day", "sent_today", "paused_reason", "probe_at", "throttle_seconds", "throttled_until", "arrival_at")
    kept = one(db, "select to_jsonb(c) from private.connection_state as c")
    db.execute("insert into private.connection_state (connection_id) values ('new')")
    new = one(db, "select to_jsonb(c) from private.connection_state as c where connection_id = 'new'")
    assert {name: kept[name] for name in names} == {name: new[name] for name in names}
    assert one(db, "select ready_at <= now() from private.connection_state where connection_id = %s", mine)
    assert one(db, "select count(*) from connection_settings") == 0
    assert service.post("/rpc/forget_connection", json={"p_connection_id": "unheard of"}).json() is False


@pytest.mark.parametrize(
    ("gateway", "whose", "sends"),
    [
        ("waha", "another's", False), (None, "another's", False), ("evolution", "another's", True),
        ("cloud", "another's", True), ("waha", "his own", True), ("waha", "a deleted one's", False),
    ],
)  # fmt: skip
async def test_a_sessions_name_is_anothers_on_the_gateway_that_has_it(db, tenants, parts, waha, gateway, whose, sends):
    victim, other = tenants
    session = str(uuid4())
    owner = other if whose == "his own" else victim
    named = owner.insert("connections", name="named")["id"]
    db.execute(
        "insert into connection_settings (connection_id, sender, gateway) values (%s, %s, %s)",
        (named, session, gateway),
    )
    other.insert("connections", id=session, name="mine")
    if whose == "a deleted one's":
        remove(owner, named)
    row = row_in(db, "pending", session, other.id)

    await send_what_is_due(parts, waha)

    assert (status(db, row), sessions(waha)) == (("sent", [session]) if sends else ("processing", []))
