"""Whoever may no longer send through a connection sends nothing more of what they began, and gets nothing back by
itself: appointments, invitations, what members wrote. Campaigns: test_access.py; messages: sql/test_lost_rights.py.
"""

from collections.abc import Callable

import pytest

from tests.helpers.accounts import User
from tests.helpers.rows import Database, message
from tests.sources.conftest import Shop, invite, join, soon
from tests.sources.hospital import ZONE, Hospital, day
from tests.sql.test_lost_rights import (
    DELETED,
    GIVEN,
    RENAMED,
    USER_DELETED,
)


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


@pytest.mark.parametrize("how", [put_out, leave, demote])
def test_whom_somebody_invited_who_may_not_any_more_is_not_let_in(clinic, user, how):
    """Neither a friend, nor the one who was put out."""
    admin = user()
    join(clinic, admin, "admin")
    token, owners = invite(of(admin, clinic)), invite(clinic)

    how(clinic, admin)

    friend = user()
    answer = friend.http.post("/connection_members", json={"invitation": token})
    assert (answer.status_code, "Ask for a new one" in answer.json()["message"]) == (400, True)
    friend.insert("connection_members", invitation=owners)
