"""Whose appointments and rules are whose: owner, admin, staff, stranger, nobody, the service key."""

import httpx
import psycopg
import pytest

from tests.helpers.accounts import User, sign_up
from tests.sources.conftest import invite
from tests.sources.hospital import REMINDER, Hospital, day


@pytest.fixture(scope="module")
def colleagues(stack) -> dict[str, User]:
    return {"admin": sign_up(stack), "staff": sign_up(stack)}


@pytest.fixture
def member(hospital, colleagues):
    """member("staff"): somebody who has taken the hospital's invitation, as a hospital of its own to call."""

    def joined(role: str) -> Hospital:
        user = colleagues[role]
        row = {
            "connection_id": "any", "user_id": user.id, "owner_id": user.id, "invitation": invite(hospital, role),
        }  # fmt: skip
        user.http.post("/connection_members", json=row).raise_for_status()
        return Hospital(User(user.id, user.token, user.http, hospital.connection), hospital.db)

    return joined


def anonymous(stack) -> httpx.Client:
    headers = {"apikey": stack["SUPABASE_ANON_KEY"]}
    return httpx.Client(base_url=f"{stack['SUPABASE_URL']}/rest/v1", headers=headers, trust_env=False)


@pytest.mark.parametrize("role", ["admin", "staff"])
def test_members_book_move_and_delete_for_the_owner(hospital, member, role):
    colleague = member(role)

    appointment = colleague.book()

    assert (appointment["owner_id"], appointment["created_by"]) == (hospital.user.id, colleague.user.id)
    colleague.change(appointment, date=day(20))
    assert hospital.open(appointment)
    assert hospital.read(appointment)["date"] == day(20)
    assert {m["owner_id"] for m in hospital.messages(appointment)} == {hospital.user.id}
    colleague.delete(appointment)
    assert colleague.user.http.get("/audit_log", params={"kind": "eq.booked"}).json()


@pytest.mark.parametrize(("role", "status"), [("admin", 201), ("staff", 403)])
def test_rules_are_the_owners_and_the_admins(hospital, member, role, status):
    colleague = member(role)
    params = {"connection_id": f"eq.{hospital.connection}", "number": f"eq.{REMINDER}"}
    [rule] = colleague.user.http.get("/reminder_rules", params=params).json()

    row = {"connection_id": hospital.connection, "owner_id": hospital.user.id, "name": "More", "anchor": "date"}
    answer = colleague.user.http.post("/reminder_rules", json=row | {"template_id": rule["template_id"]})

    assert answer.status_code == status, answer.text
    answer = colleague.user.http.post("/rpc/set_up_reminders", json={"connection_id": hospital.connection})
    assert answer.status_code == 200  # everything is there already, and they may read it
    answer = colleague.user.http.delete("/reminder_rules", params=params)
    assert answer.status_code == (204 if role == "admin" else 403)


def test_strangers_see_and_change_nothing(hospital, other_hospital):
    appointment = hospital.book()
    stranger, theirs = other_hospital.user.http, {"id": f"eq.{appointment['id']}"}

    for table in ("appointments", "reminder_rules", "audit_log"):
        rows = stranger.get(f"/{table}", params={"connection_id": f"eq.{hospital.connection}"})
        assert rows.json() == []
    shown = {"prefer": "return=representation"}
    assert stranger.patch("/appointments", params=theirs, json={"date": day(3)}, headers=shown).json() == []
    assert stranger.delete("/appointments", params=theirs, headers=shown).json() == []
    row = {"connection_id": hospital.connection, "owner_id": hospital.user.id, "date": day(3), "time": "10:00"}
    assert stranger.post("/appointments", json=row).status_code == 403
    [rule] = other_hospital.user.http.get("/reminder_rules", params={"number": "eq.1"}).json()
    row = {"connection_id": hospital.connection, "name": "More", "anchor": "date", "owner_id": other_hospital.user.id}
    answer = stranger.post("/reminder_rules", json=row | {"template_id": rule["template_id"]})
    assert answer.status_code == 403
    answer = stranger.post("/rpc/set_up_reminders", json={"connection_id": hospital.connection})
    assert answer.status_code == 403
    unknown = stranger.post("/rpc/set_up_reminders", json={"connection_id": "none"})
    assert unknown.json() == answer.json()


def test_another_tenants_template_is_refused_like_one_that_does_not_exist(hospital, other_hospital):
    [rule] = other_hospital.user.http.get("/reminder_rules", params={"number": "eq.1"}).json()
    row = {"connection_id": hospital.connection, "owner_id": hospital.user.id, "name": "More", "anchor": "date"}

    answers = [
        hospital.user.http.post("/reminder_rules", json=row | {"template_id": template})
        for template in (rule["template_id"], "00000000-0000-4000-8000-000000000000")
    ]

    assert [answer.status_code for answer in answers] == [400, 400]
    assert answers[0].json() == answers[1].json()


def test_who_has_left_sees_nothing_more(hospital, member):
    colleague = member("staff")
    appointment = colleague.book()

    params = {"user_id": f"eq.{colleague.user.id}"}
    hospital.user.http.delete("/connection_members", params=params).raise_for_status()

    assert colleague.user.http.get("/appointments").json() == []
    assert hospital.read(appointment)["owner_id"] == hospital.user.id


def test_nobody_signed_in_reaches_any_of_it(hospital, stack):
    hospital.book()
    with anonymous(stack) as nobody:
        for table in ("appointments", "reminder_rules", "audit_log"):
            assert nobody.get(f"/{table}").status_code == 401
        answer = nobody.post("/rpc/set_up_reminders", json={"connection_id": hospital.connection})
        assert answer.status_code == 401


def test_the_audit_log_is_changed_by_nobody(hospital, service):
    hospital.book()
    everything = {"id": "gt.0"}
    for client in (hospital.user.http, service):
        assert client.patch("/audit_log", params=everything, json={"kind": "moved"}).status_code == 403
        assert client.delete("/audit_log", params=everything).status_code == 403
        row = {"connection_id": hospital.connection, "owner_id": hospital.user.id, "kind": "booked", "record": {}}
        assert client.post("/audit_log", json=row).status_code == 403
    hospital.db.execute("grant update on audit_log to service_role")
    try:
        hospital.db.execute("set role service_role")
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="written once"):
            hospital.db.execute("update audit_log set kind = 'moved'")
    finally:
        hospital.db.execute("reset role")
        hospital.db.execute("revoke update on audit_log from service_role")


def test_what_the_database_writes_a_user_does_not(hospital):
    appointment = hospital.book(reminder_fault="mine", created_at="2000-01-01")

    assert hospital.read(appointment)["reminder_fault"] is None
    assert hospital.read(appointment)["created_at"] > "2020"
    hospital.change(appointment, reminder_fault="mine", created_at="2000-01-01", owner_id=hospital.user.id)
    assert hospital.read(appointment)["reminder_fault"] is None


def test_who_booked_it_stays_who_booked_it(hospital, member):
    appointment = hospital.book()

    member("staff").change(appointment, doctor_name="Rao", created_by=None)

    assert hospital.read(appointment)["created_by"] == hospital.user.id


def test_an_appointment_is_not_moved_to_a_connection_of_another_owner(hospital, member):
    """Also by somebody who may book for both."""
    colleague = member("staff").user
    own = colleague.insert("connections", name="Own")["id"]
    row = {"connection_id": own, "patient_name": "R", "mobile": "9876543210", "date": day(3), "time": "10:00"}
    appointment = colleague.insert("appointments", **row)

    params = {"id": f"eq.{appointment['id']}"}
    answer = colleague.http.patch("/appointments", params=params, json={"connection_id": hospital.connection})

    assert answer.status_code == 403
    assert answer.json()["message"] == "An appointment cannot be given to another owner."


def test_a_rule_stays_with_its_connection_and_keeps_its_number(hospital):
    second = hospital.user.insert("connections", name="Second branch")["id"]
    params = {"connection_id": f"eq.{hospital.connection}", "number": f"eq.{REMINDER}"}
    of_all = hospital.user.insert("message_templates", owner_id=hospital.user.id, name="For all", body="Hello")
    hospital.set_rule(REMINDER, template_id=of_all["id"])

    answer = hospital.user.http.patch("/reminder_rules", params=params, json={"connection_id": second})
    assert (answer.status_code, answer.json()["message"]) == (409, "A rule stays with its connection. Make a new one.")
    hospital.user.http.patch("/reminder_rules", params=params, json={"number": 17}).raise_for_status()
    assert len(hospital.user.http.get("/reminder_rules", params=params).json()) == 1
