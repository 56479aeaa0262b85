"""A campaign that waits for another admin, with the mouse."""

from tests.helpers.rows import one
from tests.sources.conftest import soon
from tests.web.people import add_member, add_people


def test_an_admin_approves_what_the_owner_has_activated_and_the_owner_cannot(desk, db, user, person):
    admin = user()
    add_member(db, person, admin, "admin")
    add_people(db, person, 2, "gold_loan")
    person.insert("connection_settings", connection_id=person.connection_id, approval="campaigns")
    campaign = person.insert(
        "campaigns", owner_id=person.id, connection_id=person.connection_id, name="News", message="Hello {name}",
        audience={"labels": ["gold_loan"]}, scheduled_at=soon(3600), status="scheduled",
    )  # fmt: skip

    own = desk(person, troubled=True).open(f"campaigns/{campaign['id']}")
    own.sees("It waits for the approval of another admin.")
    own.press("Approve")
    own.sees("Somebody else has to approve what you have activated or changed.")
    assert one(db, "select approved_by from campaigns") is None

    window = desk(admin).open(f"campaigns/{campaign['id']}")
    window.press("Approve")
    window.sees("Approved.")
    assert str(one(db, "select approved_by from campaigns")) == admin.id
