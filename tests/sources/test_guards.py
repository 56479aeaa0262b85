"""What membership, invitation and a user's own hand do not give: the conditions of guards and policies, each."""

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.helpers.accounts import User, only, sign_up
from tests.helpers.rows import Database, one
from tests.sources.conftest import SHOWN, Shop, invite, join, soon
from tests.sources.hospital import Hospital, day

# What members of a connection see beside its own row, its settings and its contacts.
SEEN = (
    "scheduled_messages", "appointments", "reminder_rules", "message_templates", "campaigns", "campaign_runs",
    "campaign_recipients", "audit_log", "connection_invitations",
)  # fmt: skip


@pytest.fixture(scope="module")
def people(stack: dict[str, str]) -> Iterator[tuple[User, User, User]]:
    signed_up = sign_up(stack), sign_up(stack), sign_up(stack)
    yield signed_up
    for person in signed_up:
        person.http.close()


def campaign_of(of: Shop | Hospital, **columns: Any) -> dict[str, Any]:
    row = {
        "connection_id": of.connection, "owner_id": of.user.id, "name": "A campaign", "message": "Hello",
        "audience": {"numbers": ["+919876500000"]}, "scheduled_at": soon(600), **columns,
    }  # fmt: skip
    return of.user.insert("campaigns", **row)


def begin(db: Database, campaign: dict[str, Any]) -> str:
    """A run of this campaign that is under way, with one recipient."""
    sql = "insert into campaign_runs (campaign_id, owner_id, connection_id, occurrence_at) values (%s, %s, %s, now())"
    values = campaign["id"], campaign["owner_id"], campaign["connection_id"]
    run = str(one(db, f"{sql} returning id", *values))
    db.execute("insert into campaign_recipients (run_id, position, address) values (%s, 1, '+919876500000')", (run,))
    return run


def the(row: dict[str, Any]) -> dict[str, str]:
    return {"id": f"eq.{row['id']}"}


def code(answer: Any) -> int:
    """404 where the answer is an empty list, as of what the caller may not see."""
    return 404 if answer.is_success and answer.json() == [] else int(answer.status_code)


# --- Members


def test_an_invitation_makes_its_holder_what_it_says_and_nobody_else(shop, other_shop, people):
    holder, another, _ = people
    row = {"role": "admin", "user_id": another.id, "owner_id": another.id, "connection_id": other_shop.connection}

    member = holder.insert("connection_members", invitation=invite(shop, "staff"), **row)

    given = {name: member[name] for name in row}
    assert given == {
        "role": "staff", "user_id": holder.id, "owner_id": shop.user.id, "connection_id": shop.connection,
    }  # fmt: skip
    assert member["invitation"] is None
    assert another.http.get("/connection_members").json() == []


@pytest.mark.parametrize("stale", ["expires_at = now() - interval '1 second'", "owner_id = gen_random_uuid()"])
def test_an_invitation_that_is_too_old_or_a_former_owners_makes_nobody_a_member(shop, people, stale):
    token = invite(shop)
    shop.db.execute(f"update connection_invitations set {stale}")

    answer = people[0].http.post("/connection_members", json={"invitation": token})

    assert (answer.status_code, "Ask for a new one" in answer.json()["message"]) == (400, True)
    assert people[0].http.get("/connection_members").json() == []


def test_an_invitation_is_for_a_week_whatever_its_writer_says(shop):
    row = {"connection_id": shop.connection, "owner_id": str(uuid4()), "token_hash": "x", "expires_at": "2100-01-01"}
    shop.user.insert("connection_invitations", **row)
    sql = "select owner_id::text = %s and expires_at - now() < interval '8 days' from connection_invitations"
    assert one(shop.db, sql, shop.user.id)


def changes(by: User, of: Shop, person: User) -> dict[str, int]:
    """What comes of each thing that somebody might do to another member, and to an invitation."""
    member = {"user_id": f"eq.{person.id}"}
    of_it = {"connection_id": f"eq.{of.connection}"}
    return {
        "promote": code(by.http.patch("/connection_members", params=member, json={"role": "admin"}, headers=SHOWN)),
        "promote oneself": code(
            by.http.patch(
                "/connection_members", params={"user_id": f"eq.{by.id}"}, json={"role": "admin"}, headers=SHOWN
            )
        ),
        "uninvite": code(by.http.delete("/connection_invitations", params=of_it, headers=SHOWN)),
        "put out": code(by.http.delete("/connection_members", params=member, headers=SHOWN)),
    }


@pytest.mark.parametrize(
    ("role", "anothers", "allowed"),
    [
        ("staff", "staff", set()),
        ("staff", "admin", set()),
        ("admin", "staff", {"uninvite", "put out"}),
        ("admin", "admin", {"uninvite"}),
        ("stranger", "staff", set()),
    ],
)
def test_who_changes_members_and_takes_invitations_back(shop, people, role, anothers, allowed):
    me, another, _ = people
    if role != "stranger":
        join(shop, me, role)
    join(shop, another, anothers)
    invite(shop)
    found = changes(me, shop, another)
    assert {name for name, status in found.items() if status == 200} == allowed
    assert set(found.values()) <= {200, 403, 404}
    roles = {r["user_id"]: r["role"] for r in shop.user.http.get("/connection_members").json()}
    assert roles.get(another.id) == (None if "put out" in allowed else anothers)
    assert roles.get(me.id) == (None if role == "stranger" else role)


def test_the_owner_changes_roles_and_nothing_else_of_a_member(shop, people):
    member, another, _ = people
    join(shop, member)
    params = {"user_id": f"eq.{member.id}"}
    for change in ({"user_id": another.id}, {"connection_id": "elsewhere"}):
        answer = shop.user.http.patch("/connection_members", params=params, json=change, headers=SHOWN)
        assert (answer.status_code, "only the role" in answer.json()["message"]) == (403, True)
    changed = {"role": "admin", "owner_id": member.id, "created_by": None}
    row = only(shop.user.http.patch("/connection_members", params=params, json=changed, headers=SHOWN))
    assert (row["role"], row["owner_id"], row["created_by"]) == ("admin", shop.user.id, shop.user.id)
    own = {"connection_id": shop.connection, "user_id": shop.user.id, "owner_id": shop.user.id}
    assert shop.user.http.post("/connection_members", json=own).status_code == 409


def test_a_membership_that_a_former_owner_gave_shows_and_allows_nothing(hospital, other_hospital, people):
    """As a backup may bring it back: what somebody else owns by now is not its business."""
    member, another, _ = people
    join(hospital, member, "admin")
    join(hospital, another)
    invite(hospital)
    hospital.book()
    begin(hospital.db, campaign_of(hospital))
    for table in SEEN:
        assert member.http.get(f"/{table}").json(), table
    assert len(member.http.get("/connection_members").json()) == 2

    hospital.db.execute("update connection_members set owner_id = %s", (other_hospital.user.id,))
    hospital.db.execute(
        "update connection_members set owner_id = %s where user_id = %s", (hospital.user.id, another.id)
    )

    for table in SEEN:
        assert member.http.get(f"/{table}").json() == [], table
    assert [row["user_id"] for row in member.http.get("/connection_members").json()] == [member.id]
    row = {"connection_id": hospital.connection, "owner_id": hospital.user.id, "date": day(3), "time": "10:00"}
    assert member.http.post("/appointments", json=row).status_code == 403
    row = {"connection_id": hospital.connection, "owner_id": hospital.user.id, "name": "x", "body": "y"}
    assert member.http.post("/message_templates", json=row).status_code == 403
    params = {"connection_id": f"eq.{hospital.connection}"}
    answer = member.http.patch("/connection_settings", params=params, json={"active": False}, headers=SHOWN)
    assert code(answer) == 403
    assert code(member.http.post("/rpc/invite_member", json={"connection_id": hospital.connection})) == 403


def test_recipients_are_those_of_runs_that_one_sees(shop, other_shop):
    shops = (shop, other_shop)
    runs = {each.user.id: begin(each.db, campaign_of(each)) for each in shops}
    for each in shops:
        assert [row["run_id"] for row in each.user.http.get("/campaign_recipients").json()] == [runs[each.user.id]]


def test_a_member_of_two_owners_connections_gives_nothing_of_the_one_to_the_other(hospital, other_hospital, people):
    member, *_ = people
    for each in (hospital, other_hospital):
        join(each, member, "admin")
    [rule] = hospital.user.http.get("/reminder_rules", params={"number": "eq.1"}).json()
    theirs = {
        "appointments": hospital.book(),
        "campaigns": campaign_of(hospital),
        "message_templates": hospital.user.insert(
            "message_templates", owner_id=hospital.user.id, connection_id=hospital.connection, name="x", body="y"
        ),
        "reminder_rules": rule,
    }
    join(other_hospital, hospital.user, "admin")
    for table, row in theirs.items():
        for writer in (member, hospital.user):
            to = {"connection_id": other_hospital.connection}
            answer = writer.http.patch(f"/{table}", params=the(row), json=to, headers=SHOWN)
            assert code(answer) in (400, 403, 409), f"{table}: {answer.text}"
        kept = only(hospital.user.http.get(f"/{table}", params=the(row)))
        assert (kept["owner_id"], kept["connection_id"]) == (hospital.user.id, hospital.connection)


def test_who_is_not_signed_in_reaches_none_of_it(stack):
    with httpx.Client(headers={"apikey": stack["SUPABASE_ANON_KEY"]}, trust_env=False) as nobody:
        for table in (*SEEN, "connection_members"):
            assert nobody.get(f"{stack['SUPABASE_URL']}/rest/v1/{table}").status_code == 401, table


def test_staff_neither_change_nor_delete_a_template_and_an_admin_does(shop, people):
    staff, admin, _ = people
    join(shop, staff)
    join(shop, admin, "admin")
    template = shop.user.insert(
        "message_templates", connection_id=shop.connection, owner_id=shop.user.id, name="x", body="y"
    )
    params = the(template)
    assert code(staff.http.patch("/message_templates", params=params, json={"body": "z"}, headers=SHOWN)) == 403
    assert code(staff.http.delete("/message_templates", params=params, headers=SHOWN)) == 403
    assert only(admin.http.patch("/message_templates", params=params, json={"body": "z"}, headers=SHOWN))["body"] == "z"
    assert code(admin.http.delete("/message_templates", params=params, headers=SHOWN)) == 200


# --- What the database alone writes


@pytest.mark.parametrize("by", ["the owner", "an admin"])
def test_what_of_a_connections_settings_is_the_operators_is_changed_by_nobody_else(shop, people, by):
    writer = shop.user if by == "the owner" else people[0]
    if by == "an admin":
        join(shop, writer, "admin")
    ours = {"active", "display_name", "timezone", "country_code", "window_start", "window_end", "approval"}
    columns = {
        "enabled": False, "gateway": "mock", "sender": "x", "messages": 5, "period_seconds": 5, "burst": 2,
        "jitter_seconds": 1, "recipient_interval_seconds": 9, "daily_limit": 3, "at_daily_limit": "fail",
        "warm_up_from": "2026-01-01", "warm_up_days": 3, "warm_up_limit": 2,
    }  # fmt: skip
    known = shop.db.execute(
        "select attname from pg_attribute where attrelid = 'connection_settings'::regclass and attnum > 0"
        " and not attisdropped"
    ).fetchall()
    others = {row["attname"] for row in known} - ours - {"connection_id", "updated_at", "created_at"}
    assert others == set(columns)
    for name, value in columns.items():
        row = {"connection_id": shop.connection, name: value}
        answer = writer.http.post("/connection_settings", json=row)
        assert (answer.status_code, "the operator's" in answer.json()["message"]) == (403, True), name
    writer.insert("connection_settings", connection_id=shop.connection, display_name="Ours", timezone="Asia/Kolkata")
    params = {"connection_id": f"eq.{shop.connection}"}
    for name, value in columns.items():
        answer = writer.http.patch("/connection_settings", params=params, json={name: value})
        assert (answer.status_code, "the operator's" in answer.json()["message"]) == (403, True), name


def test_a_campaigns_own_columns_are_the_databases(shop):
    stranger = str(uuid4())
    given = {"next_run_at": soon(9), "series_anchor": "2026-01-01", "revision": 7, "status_reason": "mine"}
    campaign = campaign_of(shop, created_by=stranger, created_at="2000-01-01", **given)
    kept = {name: campaign[name] for name in given}
    assert kept == {"next_run_at": None, "series_anchor": None, "revision": 0, "status_reason": None}
    assert (campaign["created_by"], campaign["created_at"] > "2020") == (shop.user.id, True)
    taken = {"next_run_at": soon(9), "series_anchor": "2026-01-01", "revision": 7, "owner_id": stranger}
    for name, value in {**taken, "created_by": stranger, "id": stranger}.items():
        answer = shop.user.http.patch("/campaigns", params=the(campaign), json={name: value})
        assert (answer.status_code, "Not yours to change" in answer.json()["message"]) == (403, True), name
    assert shop.set(campaign, status_reason="mine")["status_reason"] is None


def test_a_campaign_that_is_being_sent_is_neither_changed_nor_deleted(shop):
    template = shop.template("Hello")
    campaign = campaign_of(shop, status="scheduled")
    other = shop.user.insert("connections", name="another")["id"]
    run = begin(shop.db, campaign)
    changed = {
        "connection_id": other, "template_id": template, "message": "Another", "type": "image",
        "media_url": "https://example.com/a.png", "media": [{"url": "https://example.com/a.png"}], "caption": "x",
        "variables": {"name": "x"}, "audience": {"numbers": ["+919876500001"]}, "max_recipients": 5,
        "scheduled_at": soon(900), "timezone": "Asia/Kolkata", "is_recurring": True, "zone_of": "recipient",
        "recurrence_pattern": "daily",
    }  # fmt: skip
    for name, value in changed.items():
        given = {name: value, **({"recurrence_pattern": "daily"} if name == "is_recurring" else {})}
        answer = shop.user.http.patch("/campaigns", params=the(campaign), json=given)
        assert (answer.status_code, "being sent" in answer.json()["message"]) == (409, True), name
    answer = shop.user.http.delete("/campaigns", params=the(campaign))
    assert (answer.status_code, "being sent" in answer.json()["message"]) == (409, True)
    assert shop.set(campaign, name="Renamed")["name"] == "Renamed"

    shop.db.execute(
        "update campaign_runs set status = 'completed', total = 0, finished_at = now() where id = %s", (run,)
    )
    assert shop.set(campaign, message="Another")["revision"] == 1
    shop.user.http.delete("/campaigns", params=the(campaign)).raise_for_status()
    assert shop.user.http.get("/campaigns").json() == []


async def test_a_run_writes_to_nobody_who_became_somebody_elses_or_is_excepted(shop, other_shop, forward):
    mine = shop.contacts(3)
    shop.db.execute("update contacts set labels = '{staff}' where id = %s", (mine[2],))
    campaign = shop.campaign(audience={"contacts": mine, "except": {"labels": ["staff"], "contacts": [mine[1]]}})
    shop.db.execute("update contacts set owner_id = %s where id = %s", (other_shop.user.id, mine[0]))

    await forward()

    params = {"run_id": f"eq.{shop.run(campaign)['id']}", "order": "position"}
    assert [row["fault"] for row in shop.user.http.get("/campaign_recipients", params=params).json()] == [
        "This contact does not exist any more.", "Excepted from this campaign.", "Excepted from this campaign.",
    ]  # fmt: skip
    assert shop.messages(campaign) == []


STATUSES = ("draft", "scheduled", "paused", "completed", "failed", "cancelled")
FORWARD = {
    ("draft", "scheduled"), ("draft", "cancelled"), ("scheduled", "paused"), ("scheduled", "cancelled"),
    ("paused", "scheduled"), ("paused", "cancelled"),
}  # fmt: skip


@pytest.mark.parametrize("was", STATUSES)
def test_a_user_takes_a_campaign_from_one_status_to_another_only_where_there_is_a_way(shop, was):
    campaign = campaign_of(shop)
    for becomes in STATUSES:
        with shop.unguarded():
            shop.db.execute("update campaigns set next_run_at = null, status = %s", (was,))
        answer = shop.user.http.patch("/campaigns", params=the(campaign), json={"status": becomes}, headers=SHOWN)
        allowed = becomes == was or (was, becomes) in FORWARD
        assert answer.status_code == (200 if allowed else 409), f"{was} to {becomes}: {answer.text}"
        assert shop.seen(campaign)["status"] == (becomes if allowed else was)
    if was in ("completed", "failed", "cancelled"):
        answer = shop.user.http.patch("/campaigns", params=the(campaign), json={"message": "Another"})
        assert answer.status_code == 409


def test_an_appointment_stays_its_owners_and_its_own(hospital, other_hospital):
    """Its owner may move it to another connection of theirs, and to nobody else's."""
    appointment = hospital.book()
    stranger = str(uuid4())
    for change in ({"connection_id": other_hospital.connection}, {"id": stranger}):
        answer = hospital.user.http.patch("/appointments", params=the(appointment), json=change, headers=SHOWN)
        assert code(answer) == 403, change
    changed = hospital.change(appointment, owner_id=stranger, created_by=stranger)
    assert (changed["owner_id"], changed["created_by"]) == (hospital.user.id, hospital.user.id)
    booked = hospital.book(owner_id=stranger, created_by=stranger)
    assert (booked["owner_id"], booked["created_by"]) == (hospital.user.id, hospital.user.id)
    other = hospital.user.insert("connections", name="another")["id"]
    assert hospital.change(appointment, connection_id=other)["connection_id"] == other


def test_a_rules_number_is_given_once_and_chosen_by_nobody(hospital):
    [last] = hospital.user.http.get("/reminder_rules", params={"order": "number.desc", "limit": "1"}).json()
    hospital.user.http.delete("/reminder_rules", params=the(last)).raise_for_status()
    rule = hospital.rule("Hello", number=99)
    assert rule["number"] == last["number"] + 1
    answer = hospital.user.http.patch("/reminder_rules", params=the(rule), json={"number": 1}, headers=SHOWN)
    assert only(answer)["number"] == rule["number"]


def test_a_template_is_its_writers_and_its_version_counts_what_is_sent(shop, people):
    stranger = str(uuid4())
    template = shop.user.insert(
        "message_templates", name="x", body="Hi", owner_id=stranger, created_by=stranger, version=9
    )
    assert (template["owner_id"], template["created_by"], template["version"]) == (shop.user.id, shop.user.id, 1)

    def change(**columns: Any) -> dict[str, Any]:
        return only(shop.user.http.patch("/message_templates", params=the(template), json=columns, headers=SHOWN))

    sent = {
        "body": "Ho {name}", "media_url": "https://example.com/a.png", "type": "image", "defaults": {"name": "you"},
        "on_missing": "blank", "category": "marketing", "language": "hi", "cloud": {"name": "x", "language": "en"},
    }  # fmt: skip
    for n, (name, value) in enumerate(sent.items(), 2):
        assert change(**{name: value})["version"] == n, name
    kept = change(name="y", version=1, owner_id=stranger, created_by=stranger, variables=["other"])
    assert (kept["version"], kept["owner_id"], kept["variables"]) == (len(sent) + 1, shop.user.id, ["name"])
    assert kept["created_by"] == shop.user.id
