"""Whoever may no longer send through a connection sends nothing more of what they began, and gets nothing back by
itself: appointments, invitations, what members wrote. Campaigns: test_access.py; messages: sql/test_lost_rights.py.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

from tests.helpers.accounts import User
from tests.helpers.rows import Database, message, one
from tests.sources.conftest import Shop, invite, join, soon
from tests.sources.hospital import REMINDER, ZONE, Hospital, day
from tests.sql.test_lost_rights import (
    ALL_LOSSES,
    BANNED,
    DELETED,
    GIVEN,
    RENAMED,
    SOFTLY_DELETED,
    TAKEN,
    USER_DELETED,
    as_user,
    begun,
    connect,  # noqa: F401  a fixture
)

MADE_AGAIN = "insert into connections (id, name, user_id) values (%(connection)s, 'shop', %(user)s)"
RENAMED_BACK = "update connections set id = %(connection)s where id = %(connection)s || ' (old)'"
GIVEN_BACK = "update connections set user_id = %(user)s where id = %(connection)s"
LET_IN = "update auth.users set banned_until = null, deleted_at = null where id = %(user)s"
# What takes a right, and what gives it back.
THERE_AND_BACK = {GIVEN: GIVEN_BACK, TAKEN: GIVEN_BACK, RENAMED: RENAMED_BACK, DELETED: MADE_AGAIN, BANNED: LET_IN,
                  SOFTLY_DELETED: LET_IN}  # fmt: skip
STILL_TO_SEND = "select count(*) from scheduled_messages where status in ('pending', 'processing')"


@pytest.fixture
def clinic(user: Callable[[], User], db: Database) -> Hospital:
    """A hospital whose owner may lose everything."""
    hospital = Hospital(user(), db)
    hospital.settings(timezone=ZONE, country_code="IN")
    hospital.user.http.post("/rpc/set_up_reminders", json={"connection_id": hospital.connection}).raise_for_status()
    return hospital


@pytest.fixture
def lose(clinic: Hospital, other_shop: Shop) -> Callable[[str], None]:
    given = {"connection": clinic.connection, "user": clinic.user.id, "other": other_shop.user.id}
    return lambda sql: clinic.db.execute(sql, given) and None


def of(person: User, hospital: Hospital) -> Hospital:
    """The hospital in a member's name."""
    return Hospital(User(person.id, person.token, person.http, hospital.connection), hospital.db)


def change_all_that_reminders_follow(db: Database) -> None:
    db.execute("update connection_settings set timezone = 'Europe/Rome', display_name = 'Another name'")
    db.execute("update reminder_rules set day_offset = day_offset - 1 where anchor = 'date'")
    db.execute("update message_templates set body = body || '!'")


# --- Appointments


@pytest.mark.parametrize("loss", ALL_LOSSES)
def test_reminders_of_who_loses_the_right_go_out_no_more(clinic, staff_and_admin, lose, loss):
    """Whoever of the members booked, and whatever is changed afterwards that reminders follow."""
    join(clinic, staff_and_admin[0])
    for each in (clinic, of(staff_and_admin[0], clinic)):
        each.book(followup_date=day(20))
    assert one(clinic.db, STILL_TO_SEND) == 6

    lose(loss)

    assert one(clinic.db, STILL_TO_SEND) == 0
    change_all_that_reminders_follow(clinic.db)
    assert one(clinic.db, STILL_TO_SEND) == 0


@pytest.mark.parametrize("loss", THERE_AND_BACK)
def test_reminders_come_back_with_an_appointment_that_is_changed_and_not_by_themselves(clinic, lose, loss):
    appointment = clinic.book()
    lose(loss)

    lose(THERE_AND_BACK[loss])
    change_all_that_reminders_follow(clinic.db)

    assert clinic.open(appointment) == {}
    said = "It was cancelled when the connection, or the account, was lost."
    assert clinic.read(appointment)["reminder_fault"].startswith(said)
    clinic.change(appointment, date=day(30))
    assert REMINDER in clinic.open(appointment)
    assert clinic.read(appointment)["reminder_fault"] is None


@pytest.mark.parametrize("loss", [GIVEN, TAKEN, RENAMED, DELETED])
def test_whose_connection_it_is_no_more_ends_an_appointment_and_sets_no_date_of_it(clinic, lose, loss):
    """A date would be a line in the file of a connection that is somebody else's."""
    appointment = clinic.book()
    lose(loss)

    params = {"id": f"eq.{appointment['id']}"}
    for change in ({"date": day(30)}, {"followup_date": day(30)}):
        answer = clinic.user.http.patch("/appointments", params=params, json=change)
        assert (answer.status_code, answer.json()["message"]) == (403, "There is no such connection of yours.")
    clinic.change(appointment, status="visited", doctor_name="Rao")
    clinic.delete(appointment)

    assert one(clinic.db, STILL_TO_SEND) == 0
    assert [row["kind"] for row in clinic.db.execute("select kind from audit_log")] == ["booked"]


def test_after_a_hand_over_a_connection_gets_reminders_of_its_new_owners(clinic, lose, other_shop, service):
    """Also where the one who sets them up is the former owner, an admin by now."""
    lose(GIVEN)
    asked = {"connection_id": clinic.connection}
    token = other_shop.user.http.post("/rpc/invite_member", json={**asked, "role": "admin"}).json()
    clinic.user.insert("connection_members", invitation=token)

    rules = [client.post("/rpc/set_up_reminders", json=asked).json() for client in (clinic.user.http, service)]

    assert [[rule["owner_id"] for rule in made] for made in rules] == [[other_shop.user.id] * 3] * 2


# --- A token that lives on


def writes(of: Hospital, by: User, campaign: dict[str, Any], appointment: dict[str, Any]) -> dict[str, Any]:
    """What a person may try to have sent, and what the API answers."""
    row = {"connection_id": of.connection, "owner_id": of.user.id}
    one_campaign, one_appointment = ({"id": f"eq.{each['id']}"} for each in (campaign, appointment))
    http = by.http
    return {
        "activate": http.patch("/campaigns", params=one_campaign, json={"status": "scheduled"}),
        "rehearse": http.post("/campaign_rehearsals", json={"campaign_id": campaign["id"]}),
        "write a campaign": http.post("/campaigns", json={**row, "name": "x", "message": "x"}),
        "book": http.post("/appointments", json={**row, "date": day(3), "time": "10:00", "mobile": "9876543210"}),
        "move": http.patch("/appointments", params=one_appointment, json={"date": day(3)}),
        "invite": http.post("/rpc/invite_member", json={"connection_id": of.connection}),
        "write a template": http.post("/message_templates", json={**row, "name": "x", "body": "x"}),
        "change settings": http.patch(
            "/connection_settings", params={"connection_id": f"eq.{of.connection}"}, json={"timezone": "UTC"}
        ),
    }


@pytest.mark.parametrize("loss", [BANNED, SOFTLY_DELETED])
def test_while_an_owner_is_suspended_neither_they_nor_their_members_begin_anything(clinic, staff_and_admin, lose, loss):
    _, admin = staff_and_admin
    join(clinic, admin, "admin")
    row = {"connection_id": clinic.connection, "owner_id": clinic.user.id, "name": "x", "message": "x"}
    audience = {"numbers": ["+919876500001"]}
    campaign = clinic.user.insert("campaigns", **row, audience=audience, scheduled_at=soon(600))
    appointment = clinic.book()

    lose(loss)

    for by in (clinic.user, admin):
        answers = writes(clinic, by, campaign, appointment)
        assert {name: answer.status_code for name, answer in answers.items()} == dict.fromkeys(answers, 403)
        assert {"suspended" in answer.json()["message"] for answer in answers.values()} == {True}
    assert one(clinic.db, STILL_TO_SEND) == 0


def test_what_failed_is_not_rendered_anew_for_who_is_suspended(clinic, lose):
    contact = clinic.db.execute(
        "insert into contacts (owner_id, phone_number) values (%s, '+919876500001') returning id", (clinic.user.id,)
    ).fetchone()["id"]
    template = clinic.user.insert("message_templates", owner_id=clinic.user.id, name="x", body="Hi {name}")["id"]
    sql = """
        insert into scheduled_messages
            (connection_id, contact_id, message, scheduled_at, owner_id, created_by, template_id)
        values (%s, %s, '', now() + interval '1 day', %s, %s, %s) returning id
    """
    given = (clinic.connection, contact, clinic.user.id, clinic.user.id, template)
    row = clinic.db.execute(sql, given).fetchone()["id"]
    assert "No value for {name}" in message(clinic.db, row)["error"]
    lose(BANNED)

    answer = clinic.user.http.patch("/contacts", params={"id": f"eq.{contact}"}, json={"contact_name": "Asha"})

    answer.raise_for_status()
    assert message(clinic.db, row)["status"] == "failed"


# --- Members


@pytest.fixture
def colleague(clinic: Hospital, staff_and_admin: tuple[User, User]) -> User:
    join(clinic, staff_and_admin[0])
    return staff_and_admin[0]


def write_own(by: User, clinic: Hospital) -> str:
    """A series of a member's own, which the owner does not see."""
    row = {"connection_id": clinic.connection, "contact_id": "+919876500002", "message": "Hi"}
    return str(by.insert(**row, scheduled_at=soon(600), is_recurring=True, recurrence_pattern="daily")["id"])


def put_out(clinic: Hospital, person: User) -> None:
    clinic.user.http.delete("/connection_members", params={"user_id": f"eq.{person.id}"}).raise_for_status()


def leave(clinic: Hospital, person: User) -> None:
    person.http.delete("/connection_members", params={"user_id": f"eq.{person.id}"}).raise_for_status()


@pytest.mark.parametrize("how", [put_out, leave, GIVEN, DELETED, RENAMED])
def test_who_is_a_member_no_more_sends_nothing_of_their_own(clinic, colleague, lose, how):
    theirs, owners = write_own(colleague, clinic), write_own(clinic.user, clinic)

    lose(how) if isinstance(how, str) else how(clinic, colleague)

    assert (message(clinic.db, theirs)["status"], bool(message(clinic.db, theirs)["error"])) == ("cancelled", True)
    assert message(clinic.db, owners)["status"] == ("cancelled" if isinstance(how, str) else "pending")


def test_a_member_who_becomes_the_owner_loses_nothing(clinic, colleague):
    theirs = write_own(colleague, clinic)

    clinic.db.execute("update connections set user_id = %s where id = %s", (colleague.id, clinic.connection))

    assert message(clinic.db, theirs)["status"] == "pending"


@pytest.mark.parametrize("how", [leave, USER_DELETED])
async def test_what_a_member_wrote_for_the_owner_goes_on_without_their_name(user, clinic, forward, how):
    """Whoever has left does not see as their author whom it goes to; and an account that is gone stops nothing."""
    person = user()
    join(clinic, person)
    row = {"connection_id": clinic.connection, "owner_id": clinic.user.id, "name": "x", "message": "x"}
    person.insert("campaigns", **row, audience={"numbers": ["+919876500001"]}, scheduled_at=soon(0), status="scheduled")
    appointment = of(person, clinic).book()

    clinic.db.execute(how, {"user": person.id}) if isinstance(how, str) else how(clinic, person)
    clinic.change(appointment, followup_date=day(20))
    await forward()

    made = clinic.db.execute("select created_by, owner_id::text from scheduled_messages where priority = 1").fetchall()
    assert made == [{"created_by": None, "owner_id": clinic.user.id}]
    assert len(clinic.open(appointment)) == 2
    assert {row["created_by"] for row in clinic.messages(appointment)} == {None}


# --- Invitations


def demote(clinic: Hospital, person: User) -> None:
    params = {"user_id": f"eq.{person.id}"}
    clinic.user.http.patch("/connection_members", params=params, json={"role": "staff"}).raise_for_status()


@pytest.mark.parametrize("how", [put_out, leave, demote, BANNED, SOFTLY_DELETED, USER_DELETED])
def test_whom_somebody_invited_who_may_not_any_more_is_not_let_in(clinic, user, how):
    """Neither a friend, nor the one who was put out."""
    admin = user()
    join(clinic, admin, "admin")
    token, owners = invite(of(admin, clinic)), invite(clinic)

    clinic.db.execute(how, {"user": admin.id}) if isinstance(how, str) else how(clinic, admin)

    friend = user()
    answer = friend.http.post("/connection_members", json={"invitation": token})
    assert (answer.status_code, "Ask for a new one" in answer.json()["message"]) == (400, True)
    friend.insert("connection_members", invitation=owners)


@pytest.mark.parametrize("loss", ALL_LOSSES)
def test_nobody_joins_by_an_invitation_of_who_has_lost_the_right(clinic, user, lose, loss):
    token = invite(clinic)

    lose(loss)
    if loss in THERE_AND_BACK:
        lose(THERE_AND_BACK[loss])

    answer = user().http.post("/connection_members", json={"invitation": token})
    assert (answer.status_code, "Ask for a new one" in answer.json()["message"]) == (400, True)


# --- At that very moment

BOOK = """
    insert into appointments (connection_id, owner_id, date, time, mobile, doctor_name, patient_name)
    select id, user_id::uuid, current_date + 9, '10:00', '9876543210', 'Rao', 'Asha' from connections where id = %s
"""
ACTIVATE = "update campaigns set status = 'scheduled' where connection_id = %s"
NOTHING_BEGUN = "select count(*) from campaigns where status = 'scheduled'"


@pytest.fixture
def draft(clinic: Hospital) -> None:
    row = {"connection_id": clinic.connection, "owner_id": clinic.user.id, "name": "x", "message": "x"}
    clinic.user.insert("campaigns", **row, audience={"numbers": ["+919876500001"]}, scheduled_at=soon(600))


@pytest.mark.parametrize(
    ("loss", "write"),
    [(GIVEN, BOOK), (TAKEN, BOOK), (BANNED, BOOK), (DELETED, BOOK), (GIVEN, ACTIVATE), (BANNED, ACTIVATE)],
)
@pytest.mark.usefixtures("draft")
def test_what_a_member_begins_at_that_moment_does_not_escape(
    clinic, colleague, other_shop, connect, loss, write  # noqa: F811
):  # fmt: skip
    taker, writer = connect(), connect()
    as_user(writer, colleague)
    assert writer.execute(write, (clinic.connection,)).rowcount == 1

    def take() -> None:
        taker.execute(loss, {"connection": clinic.connection, "user": clinic.user.id, "other": other_shop.user.id})
        taker.commit()

    with ThreadPoolExecutor(1) as pool:
        taken = begun(clinic.db, taker, take, pool)
        writer.commit()
        taken.result(20)

    assert (one(clinic.db, STILL_TO_SEND), one(clinic.db, NOTHING_BEGUN)) == (0, 0)


@pytest.mark.parametrize("write", [BOOK, ACTIVATE])
@pytest.mark.parametrize("loss", [GIVEN, BANNED])
@pytest.mark.usefixtures("draft")
def test_what_a_member_begins_while_the_right_is_being_taken_is_refused(
    clinic, colleague, other_shop, connect, loss, write  # noqa: F811
):  # fmt: skip
    taker, writer = connect(), connect()
    taker.execute(loss, {"connection": clinic.connection, "user": clinic.user.id, "other": other_shop.user.id})

    as_user(writer, colleague)
    with pytest.raises(psycopg.Error) as refused:
        writer.execute(write, (clinic.connection,))
    writer.rollback()
    taker.commit()

    assert refused.value.sqlstate == "PT409"
    assert (one(clinic.db, STILL_TO_SEND), one(clinic.db, NOTHING_BEGUN)) == (0, 0)
