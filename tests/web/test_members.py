"""Members of a connection: invited, joined, changed, gone; each with a window of their own."""

import re

import pytest

from tests.helpers.http_server import Reply
from tests.helpers.polling import until
from tests.helpers.proxy import answering, forgetful, only
from tests.helpers.rows import one
from tests.web.people import add_member


def invite(window, role="staff"):
    """The link that the page shows."""
    window.choose("Invite as", role)
    window.press("Make an invitation")
    window.sees("Give this link to whoever is to join.")
    return window.field("Invitation").inputValue()


def test_somebody_is_invited_joins_by_the_link_writes_a_campaign_and_is_removed(desk, db, user, person):
    owner, ravi = person, user()
    db.execute("update connections set name = 'Reception' where id = %s", (owner.connection_id,))
    window = desk(owner, troubled=True).open("connections")
    window.follow("Members of Reception")
    window.sees("You are its owner.")
    window.sees("Nobody but the owner uses this connection yet.")
    link = invite(window)
    assert re.search(r"#/connections/join/[0-9a-f]{64}$", link)
    token = link.rpartition("/")[2]
    assert one(db, "select count(*) from connection_invitations where token_hash = %s", token) == 0

    theirs = desk(ravi, troubled=True).open(f"connections/join/{token}")
    theirs.fill("Your name", "Ravi मिश्रा")
    theirs.press("Join")
    theirs.sees("Reception")
    [member] = db.execute("select * from connection_members").fetchall()
    assert (str(member["user_id"]), member["role"], member["name"]) == (ravi.id, "staff", "Ravi मिश्रा")
    theirs.follow("Members of Reception")
    theirs.sees("You are staff here.")
    theirs.sees("Ravi मिश्रा (you)")
    assert theirs.button("Make an invitation").count() == 0

    # The link works once.
    other = desk(user(), troubled=True).open(f"connections/join/{token}")
    other.fill("Your name", "Mallory")
    other.press("Join")
    other.sees("This invitation is not valid any more.")

    window.field("Campaigns wait until another admin approves them").check()
    window.sees("Changed.")
    assert one(db, "select approval from connection_settings") == "campaigns"
    # The switch stands where somebody else has put it since.
    db.execute("update connection_settings set approval = 'none'")
    window.page.evaluate("window.dispatchEvent(new Event('online'))")  # which is when a page looks again
    until(lambda: not window.field("Campaigns wait until another admin approves them").isChecked())
    window.sees("Ravi मिश्रा")
    window.choose("Role of Ravi मिश्रा", "admin")
    theirs.sees("You are admin here.")
    assert one(db, "select role from connection_members") == "admin"
    window.press("Remove")
    window.press("Yes, remove")
    window.sees("Nobody but the owner uses this connection yet.")
    theirs.page.getByRole("dialog").waitFor(state="detached")
    assert one(db, "select count(*) from connection_members") == 0


@pytest.mark.parametrize("deed", ["Save", "Yes, delete"])
def test_staff_who_may_read_a_contact_and_not_change_it_are_told_so(desk, db, user, person, deed):
    contact = person.insert("contacts", contact_name="Asha", phone_number="+919876500001")
    staff = user()
    add_member(db, person, staff)
    window = desk(staff).open(f"contacts/{contact['id']}/edit")
    window.fill("Name", "Mine")
    if deed != "Save":
        window.press("Delete")
    window.press(deed)
    window.sees("This is not yours to change")
    assert window.field("Name").inputValue() == "Mine"
    assert one(db, "select contact_name from contacts") == "Asha"


def test_an_invitation_is_withdrawn_and_an_admin_invites_staff_alone(desk, db, user, person):
    admin = user()
    add_member(db, person, admin, "admin")
    window = desk(admin).open(f"connections/{person.connection_id}/members")
    window.sees("You are admin here.")
    assert window.texts("select[name=role] option") == ["Staff"]
    invite(window)
    window.press("Withdraw")
    window.sees("Withdrawn.")
    assert one(db, "select count(*) from connection_invitations") == 0
    window.press("Leave")
    window.press("Yes, leave")
    window.page.getByRole("dialog").waitFor(state="detached")
    assert one(db, "select count(*) from connection_members") == 0


def test_an_invitation_that_was_taken_meanwhile_is_not_called_withdrawn(desk, db, api, person):
    person.http.post("/rpc/invite_member", json={"connection_id": person.connection_id}).raise_for_status()
    window = desk(person, troubled=True).open(f"connections/{person.connection_id}/members")
    window.button("Withdraw").waitFor()
    # The list is as it was when it was looked at last.
    unread = answering(Reply(503, {"message": "no"}))
    api.fault = only(
        "connection_invitations", lambda request, got: unread(request, got) if request.method == "GET" else None
    )
    db.execute("delete from connection_invitations")
    window.press("Withdraw")
    window.sees("It was taken or withdrawn already.")
    api.fault = None


def test_joining_is_done_also_when_its_answer_was_lost(desk, db, api, user, person):
    ravi = user()
    token = person.http.post("/rpc/invite_member", json={"connection_id": person.connection_id}).json()
    window = desk(ravi, troubled=True).open(f"connections/join/{token}")
    window.fill("Your name", "Ravi")
    lost = []

    def lose_the_first(request, answer):
        if request.method == "POST" and "connection_members" in request.path and answer and not lost:
            lost.append(answer.status)
            return forgetful(request, answer)
        return None

    api.fault = lose_the_first
    window.button("Join").dblclick()
    window.page.getByRole("dialog").waitFor(state="detached")
    assert lost == [201]
    assert one(db, "select count(*) from connection_members") == 1
