"""`approval = 'campaigns'`: what somebody activates waits until another admin lets it go."""

import pytest

from tests.helpers.accounts import only
from tests.sources.conftest import SHOWN, join, soon

WAITS = "It waits for the approval of another admin."


@pytest.fixture
def strict(shop, staff_and_admin):
    """A shop with staff and an admin, whose campaigns have to be approved."""
    staff, admin = staff_and_admin
    join(shop, staff, "staff")
    join(shop, admin, "admin")
    shop.contacts(3)
    shop.user.insert("connection_settings", connection_id=shop.connection, approval="campaigns")
    return shop, staff, admin


def approve(person, campaign, by=None):
    params = {"id": f"eq.{campaign['id']}"}
    return person.http.patch("/campaigns", params=params, json={"approved_by": by or person.id}, headers=SHOWN)


def refusal(answer) -> tuple[int, str]:
    assert not answer.is_success, answer.text
    return answer.status_code, answer.json()["message"]


async def test_nothing_goes_out_until_another_admin_approves_and_who_did_is_kept(strict, forward):
    shop, _, admin = strict
    campaign = shop.campaign()
    assert (campaign["status"], campaign["status_reason"], campaign["approved_by"]) == ("scheduled", WAITS, None)
    await forward()
    assert shop.user.http.get("/campaign_runs").json() == []

    seen = only(approve(admin, campaign))

    assert (seen["status_reason"], seen["approved_by"], seen["activated_by"]) == (None, admin.id, shop.user.id)
    assert seen["approved_at"]
    await forward()
    assert shop.run(campaign)["sent"] == 3
    assert shop.seen(campaign)["approved_by"] == admin.id


async def test_whose_it_is_not_to_approve(strict, other_shop, forward):
    shop, staff, admin = strict
    campaign = shop.campaign()
    assert refusal(approve(shop.user, campaign)) == (
        409, "Somebody else has to approve what you have activated or changed.",
    )  # fmt: skip
    assert refusal(approve(staff, campaign))[0] == 403
    assert refusal(approve(shop.user, campaign, by=admin.id)) == (403, "Approve it in your own name.")
    assert approve(other_shop.user, campaign).json() == []
    for columns in ({"activated_by": admin.id}, {"next_run_at": None}):
        params = {"id": f"eq.{campaign['id']}"}
        assert shop.user.http.patch("/campaigns", params=params, json=columns).status_code == 403, columns
    born_approved = shop.campaign(approved_by=admin.id, approved_at=soon(), activated_by=admin.id)
    assert (born_approved["approved_by"], born_approved["status_reason"]) == (None, WAITS)
    await forward()
    assert shop.user.http.get("/campaign_runs").json() == []


def test_the_owner_approves_what_staff_activate(strict):
    shop, staff, _ = strict
    row = {
        "connection_id": shop.connection, "name": "By staff", "message": "Hello", "owner_id": staff.id,
        "audience": {"labels": ["gold"]}, "scheduled_at": soon(600), "status": "scheduled",
    }  # fmt: skip
    campaign = staff.insert("campaigns", **row)
    assert campaign["status_reason"] == WAITS
    assert only(approve(shop.user, campaign))["status_reason"] is None


@pytest.mark.parametrize("change", ["text", "time", "template", "withdrawn"])
def test_what_is_changed_afterwards_has_to_be_approved_anew(strict, change):
    shop, _, admin = strict
    template = shop.template("Hello {name}", connection_id=shop.connection)
    campaign = shop.campaign(template_id=template, message="", scheduled_at=soon(600))
    approve(admin, campaign).raise_for_status()

    if change == "text":
        shop.set(campaign, variables={"name": "all"})
    elif change == "time":
        shop.set(campaign, scheduled_at=soon(900))
    elif change == "template":
        params = {"id": f"eq.{template}"}
        only(shop.user.http.patch("/message_templates", params=params, json={"body": "Buy now"}, headers=SHOWN))
    else:
        params = {"id": f"eq.{campaign['id']}"}
        only(admin.http.patch("/campaigns", params=params, json={"approved_by": None}, headers=SHOWN))

    seen = shop.seen(campaign)
    assert (seen["status_reason"], seen["approved_by"], seen["approved_at"]) == (WAITS, None, None)
    assert only(approve(admin, campaign))["status_reason"] is None


@pytest.mark.parametrize("is_approved", [True, False])
def test_who_changes_the_template_does_not_approve_what_it_says(strict, is_approved):
    shop, _, admin = strict
    template = shop.template("Hello {name}", connection_id=shop.connection)
    campaign = shop.campaign(template_id=template, message="", scheduled_at=soon(600))
    if is_approved:
        approve(admin, campaign).raise_for_status()

    params = {"id": f"eq.{template}"}
    only(admin.http.patch("/message_templates", params=params, json={"body": "Buy now"}, headers=SHOWN))

    assert refusal(approve(admin, campaign)) == (
        409, "Somebody else has to approve what you have activated or changed.",
    )  # fmt: skip
    assert only(approve(shop.user, campaign))["status_reason"] is None


def test_what_is_no_change_and_a_pause_leave_the_approval(strict):
    shop, staff, admin = strict
    campaign = shop.campaign(scheduled_at=soon(600))
    approved = only(approve(admin, campaign))
    shop.set(campaign, **(approved | {"name": "Another name"}))  # a form that writes the whole row back
    shop.set(campaign, status="paused")
    params = {"id": f"eq.{campaign['id']}"}
    only(staff.http.patch("/campaigns", params=params, json={"status": "scheduled"}, headers=SHOWN))

    seen = shop.seen(campaign)
    assert (seen["status"], seen["status_reason"], seen["approved_by"]) == ("scheduled", None, admin.id)


async def test_switched_off_what_waits_goes_and_switched_on_what_is_scheduled_waits(strict, forward):
    shop, _, admin = strict
    campaign, later = shop.campaign(), shop.campaign(scheduled_at=soon(600))
    params = {"connection_id": f"eq.{shop.connection}"}
    only(admin.http.patch("/connection_settings", params=params, json={"approval": "none"}, headers=SHOWN))
    assert shop.seen(campaign)["status_reason"] is None
    await forward()
    assert shop.run(campaign)["sent"] == 3

    only(admin.http.patch("/connection_settings", params=params, json={"approval": "campaigns"}, headers=SHOWN))
    assert shop.seen(later)["status_reason"] == WAITS
