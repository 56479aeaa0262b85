"""connection_usage and count_upcoming_messages: what users may know of their connections and of what is to come."""

from datetime import UTC, datetime, timedelta

import pytest

from tests.helpers.rows import one
from tests.helpers.zones import where_it_is_noon


def usage(person, connection_id):
    answer = person.http.post("/rpc/connection_usage", json={"connection_id": connection_id})
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_whoever_cannot_see_a_connection_learns_as_much_as_of_one_that_does_not_exist(user, db):
    owner, other = user(), user()
    db.execute("insert into connection_settings (connection_id, daily_limit) values (%s, 7)", (owner.connection_id,))

    [mine] = usage(owner, owner.connection_id)
    assert (mine["daily_limit"], mine["sent_today"], mine["state"], mine["waiting"]) == (7, 0, None, [])
    assert usage(other, owner.connection_id) == usage(other, "no-such-connection") == []


def test_users_cannot_name_the_function_that_reads_for_them(user, db):
    owner = user()
    with db.transaction():
        db.execute("set local role authenticated")
        with pytest.raises(Exception, match="permission denied for schema private"), db.transaction():
            db.execute("select * from private.usage_of(%s)", (owner.connection_id,))


@pytest.mark.parametrize(
    ("settings", "state"),
    [
        ("enabled = false", "this connection is switched off"),
        ("daily_limit = 0", "the daily limit of 0 messages is reached"),
        (
            f"window_start = '00:00', window_end = '00:00:01', timezone = '{where_it_is_noon()}'",
            "outside the sending hours 00:00 to 00:00",
        ),
        ("messages = 15, period_seconds = 60", None),
    ],
    ids=["switched off", "at its limit", "closed", "paced"],
)
def test_it_says_what_holds_a_connection_up(user, db, settings, state):
    owner = user()
    db.execute("insert into private.connection_state (connection_id) values (%s)", (owner.connection_id,))
    db.execute("insert into connection_settings (connection_id) values (%s)", (owner.connection_id,))
    db.execute(f"update connection_settings set {settings}")
    assert usage(owner, owner.connection_id)[0]["state"] == state


@pytest.mark.parametrize("switch", ["enabled", "active"], ids=["by the operator", "by its owner"])
def test_it_says_that_a_connection_is_switched_off_that_never_sent(user, db, switch):
    owner = user()
    sql = f"insert into connection_settings (connection_id, {switch}) values (%s, false)"
    db.execute(sql, (owner.connection_id,))
    assert usage(owner, owner.connection_id)[0]["state"] == "this connection is switched off"


def test_what_is_due_and_not_taken_up_is_counted_whoever_wrote_it_and_what_is_not_due_is_not(user, db):
    owner = user()
    now = datetime.now(UTC)
    for scheduled_at in (now - timedelta(hours=1), now + timedelta(hours=1)):
        owner.insert(
            connection_id=owner.connection_id, contact_id="+1", message="x", scheduled_at=scheduled_at.isoformat()
        )
    db.execute(
        "insert into scheduled_messages (connection_id, contact_id, message, scheduled_at) values (%s, '1', 'x', %s)",
        (owner.connection_id, now - timedelta(hours=1)),
    )
    [found] = usage(owner, owner.connection_id)
    assert found["waiting"] == [{"reason": "the daemon has not taken it up yet", "number": 2, "until": None}]
    assert found["waiting_is_cut"] is False


def test_days_are_those_of_the_zone_and_rows_are_the_callers(user, db):
    owner, other = user(), user()
    for person, scheduled_at in (
        (owner, "2031-05-05T18:29:00Z"),
        (owner, "2031-05-05T18:30:00Z"),  # midnight in Kolkata
        (other, "2031-05-05T18:30:00Z"),
    ):
        person.insert(connection_id=person.connection_id, contact_id="+1", message="x", scheduled_at=scheduled_at)

    def days(zone, since, until):
        given = {"timezone": zone, "since": since, "until": until}
        return owner.http.post("/rpc/count_upcoming_messages", json=given).json()

    assert days("Asia/Kolkata", "2031-05-05", "2031-05-06") == [
        {"day": "2031-05-05", "number": 1},
        {"day": "2031-05-06", "number": 1},
    ]
    assert days("UTC", "2031-05-05", "2031-05-05") == [{"day": "2031-05-05", "number": 2}]
    assert days("Asia/Kolkata", "2031-05-06", "2031-05-06") == [{"day": "2031-05-06", "number": 1}]
    db.execute("update scheduled_messages set status = 'cancelled'")
    assert days("UTC", "2031-05-05", "2031-05-05") == []
    assert one(db, "select count(*) from scheduled_messages") == 3
