"""Who may do what with members, templates and campaigns: owner, admin, staff, somebody who left, a stranger."""

from typing import Any

import pytest

from tests.sources.conftest import SHOWN, Shop, invite, join, soon
from tests.sql.test_lost_rights import ALL_LOSSES, DELETED, RENAMED

TABLES = ("campaigns", "campaign_runs", "campaign_recipients", "message_templates", "connection_members")


def refused(answer: Any, *codes: int) -> bool:
    return answer.status_code in codes or (answer.is_success and answer.json() == [])


def campaign_of(shop: Shop, **columns: Any) -> dict[str, Any]:
    return {
        "connection_id": shop.connection, "name": "A campaign", "message": "Hello {name}",
        "audience": {"labels": ["gold"]}, "scheduled_at": soon(600), "owner_id": shop.user.id, **columns,
    }  # fmt: skip


def test_staff_write_campaigns_for_the_owner_and_no_templates(shop, staff_and_admin):
    staff, _ = staff_and_admin
    shop.contacts(1)
    join(shop, staff, "staff")

    campaign = staff.insert("campaigns", **campaign_of(shop, owner_id=staff.id, status="scheduled"))

    assert (campaign["owner_id"], campaign["created_by"]) == (shop.user.id, staff.id)
    template = {"name": "x", "body": "y", "connection_id": shop.connection, "owner_id": staff.id}
    answer = staff.http.post("/message_templates", json=template)
    assert (answer.status_code, "the owner and admins" in answer.json()["message"]) == (403, True)
    settings = {"connection_id": shop.connection, "display_name": "Ours"}
    assert staff.http.post("/connection_settings", json=settings).status_code == 403


def test_admins_write_templates_settings_and_staff_but_make_no_admins(shop, staff_and_admin):
    staff, admin = staff_and_admin
    join(shop, admin, "admin")

    template = admin.insert("message_templates", name="x", body="y", connection_id=shop.connection, owner_id=admin.id)
    assert template["owner_id"] == shop.user.id
    admin.insert("connection_settings", connection_id=shop.connection, display_name="Ours", active=False)
    path, of_it = "/message_templates", {"id": f"eq.{template['id']}"}
    answer = admin.http.patch(path, params=of_it, json={"connection_id": None}, headers=SHOWN)
    assert refused(answer, 403)
    for role, is_allowed in (("staff", True), ("admin", False)):
        invited = admin.http.post("/rpc/invite_member", json={"connection_id": shop.connection, "role": role})
        assert invited.is_success is is_allowed, invited.text
    member = {"connection_id": shop.connection, "user_id": staff.id, "role": "admin", "owner_id": admin.id}
    assert admin.http.post("/connection_members", json=member).status_code == 403
    for column, value in (("enabled", False), ("messages", 5), ("gateway", "mock"), ("daily_limit", 1)):
        params = {"connection_id": f"eq.{shop.connection}"}
        answer = admin.http.patch("/connection_settings", params=params, json={column: value}, headers=SHOWN)
        assert refused(answer, 403), column


def test_an_invitation_is_good_once_and_not_after_a_change_of_the_owner(shop, other_shop, staff_and_admin):
    first, second = staff_and_admin
    token = invite(shop)
    first.insert("connection_members", invitation=token)
    assert second.http.post("/connection_members", json={"invitation": token}).status_code == 400
    late = invite(shop)

    for owner in (other_shop.user.id, shop.user.id):  # and back again
        shop.db.execute("update connections set user_id = %s where id = %s", (owner, shop.connection))

        assert second.http.post("/connection_members", json={"invitation": late}).status_code == 400
        assert first.http.get("/connection_members").json() == []


@pytest.mark.parametrize(("loss", "word"), ALL_LOSSES.items())
async def test_who_loses_the_right_to_send_sends_nothing_more_of_a_campaign(
    user, db, other_shop, staff_and_admin, forward, loss, word
):
    """Neither what is made of it already, nor the next recipients, nor what has not begun; whoever wrote it."""
    shop, (staff, _) = Shop(user(), db), staff_and_admin
    join(shop, staff, "staff")
    shop.contacts(60)
    [under_way, to_come, draft] = [
        one.insert("campaigns", **campaign_of(shop, owner_id=one.id, **columns))
        for one, columns in (
            (staff, {"scheduled_at": soon(0), "status": "scheduled"}),
            (shop.user, {"status": "scheduled"}),
            (shop.user, {"status": "draft"}),
        )
    ]
    await forward(send=False, batch_size=5)  # a window of forty
    made = "select count(*) as n from scheduled_messages where status = 'pending' and source_id is not null"
    assert 0 < db.execute(made).fetchone()["n"] < 60

    db.execute(loss, {"connection": shop.connection, "user": shop.user.id, "other": other_shop.user.id})
    await forward()

    seen = {row["id"]: row for row in db.execute("select id::text, status, status_reason from campaigns")}
    # What has not begun on a connection that is not there fails when it would begin.
    later = "scheduled" if loss in (DELETED, RENAMED) else "cancelled"
    assert [seen[each["id"]]["status"] for each in (under_way, to_come, draft)] == ["cancelled", later, "draft"]
    assert word in seen[under_way["id"]]["status_reason"]
    assert {row["status"] for row in db.execute("select status from scheduled_messages")} == {"cancelled"}
    assert [row["status"] for row in db.execute("select status from campaign_runs")] == ["cancelled"]


async def test_a_campaign_whose_connection_changed_hands_unseen_fails_when_it_would_begin(shop, other_shop, forward):
    shop.contacts(1)
    campaign = shop.campaign()
    with shop.unguarded():  # as if it had been activated at the same moment
        shop.db.execute("update connections set user_id = %s where id = %s", (other_shop.user.id, shop.connection))

    await forward()

    seen = shop.seen(campaign)
    assert (seen["status"], "belongs to somebody else now" in seen["status_reason"]) == ("failed", True)
    assert shop.db.execute("select from scheduled_messages").fetchall() == []


async def test_a_former_owner_who_is_staff_now_sends_nothing_of_that_time(shop, other_shop, forward):
    shop.contacts(1)
    sent = shop.campaign()
    await forward()
    draft = shop.campaign(status="draft", scheduled_at=soon(600))
    shop.db.execute("update connections set user_id = %s where id = %s", (other_shop.user.id, shop.connection))
    token = other_shop.user.http.post("/rpc/invite_member", json={"connection_id": shop.connection}).json()
    shop.user.insert("connection_members", invitation=token)

    params = {"id": f"eq.{draft['id']}"}
    begun = shop.user.http.patch("/campaigns", params=params, json={"status": "scheduled"})
    again = shop.user.http.post("/rpc/retry_campaign_run", json={"run_id": shop.run(sent)["id"]})

    for answer in (begun, again):
        assert (answer.status_code, answer.json()["message"]) == (403, "There is no such connection of yours.")


def test_what_staff_wrote_is_cancelled_with_what_the_owner_wrote(shop, other_shop, staff_and_admin):
    staff, _ = staff_and_admin
    join(shop, staff, "staff")
    row = {"connection_id": shop.connection, "contact_id": "+919876500002", "message": "Hi", "scheduled_at": soon(600)}
    staff.insert(**row, owner_id=shop.user.id, created_by=staff.id)

    shop.db.execute("update connections set user_id = %s where id = %s", (other_shop.user.id, shop.connection))

    [left] = shop.db.execute("select status, error from scheduled_messages")
    assert (left["status"], "somebody else" in left["error"]) == ("cancelled", True)


async def test_who_has_left_sees_nothing_more_and_a_stranger_never_did(shop, other_shop, staff_and_admin, forward):
    staff, _ = staff_and_admin
    shop.contacts(1)
    join(shop, staff, "staff")
    template = shop.template("Hello {name}", connection_id=shop.connection)
    staff.insert("campaigns", **campaign_of(shop, scheduled_at=soon(0), status="scheduled", template_id=template))
    await forward()
    for table in (*TABLES, "scheduled_messages", "contacts"):
        assert len(staff.http.get(f"/{table}").json()) > 0, table
        assert other_shop.user.http.get(f"/{table}").json() == [], table

    staff.http.delete("/connection_members", params={"user_id": f"eq.{staff.id}"})

    for table in (*TABLES, "scheduled_messages", "contacts"):
        assert staff.http.get(f"/{table}").json() == [], table
    assert staff.http.post("/campaigns", json=campaign_of(shop)).status_code == 403
    # What they wrote stays the owner's.
    assert len(shop.user.http.get("/scheduled_messages").json()) == 1


def test_a_template_of_another_connection_is_for_that_one_alone(db, shop):
    shop.contacts(1)
    other = shop.user.insert("connections", name="another")["id"]
    theirs = shop.template("Hello", connection_id=other)

    assert "another connection's" in shop.refusal(template_id=theirs, message="")
    rule = {
        "connection_id": shop.connection, "owner_id": shop.user.id, "name": "x", "anchor": "booked",
        "template_id": theirs,
    }  # fmt: skip
    answer = shop.user.http.post("/reminder_rules", json=rule)
    assert (answer.status_code, "another connection's" in answer.json()["message"]) == (400, True)
