"""What is shown follows Realtime's hints where there is one, and asks where there is none."""

import json

import pytest

from local.api import ROOT
from tests.helpers.polling import until

DOUBLE = str(ROOT / "tests" / "web" / "realtime.mjs")
NEVER = 100_000  # seconds
MESSAGES = "scheduled_messages"


@pytest.fixture
def contact(person):
    return person.insert("contacts", contact_name="Asha", phone_number="+919876500001")


def configure(window, stack, poll):
    values = {"url": "", "key": stack["SUPABASE_ANON_KEY"], "preview": "", "realtime": True, "poll": poll}
    window.page.instead("**/config.js", f"export default {json.dumps(values)}")


def write(person, contact, text):
    person.insert(
        contact_id=str(contact["id"]),
        connection_id=person.connection_id,
        message=text,
        scheduled_at="2031-01-01T00:00Z",
    )


def test_a_change_is_looked_up_at_its_hint(desk, stack, db, person, contact):
    window = desk(person)
    configure(window, stack, NEVER)
    window.page.carry(DOUBLE, "answer")
    window.open(f"contacts/{contact['id']}/view")
    window.sees("Nothing is scheduled for this contact yet.")
    until(lambda: window.page.carry(DOUBLE, "isJoined", MESSAGES))
    for text in ("The first", "The second"):  # the first may come with the look at the joining
        write(person, contact, text)
        window.page.carry(DOUBLE, "publish", MESSAGES)
        window.sees(text)


def test_where_there_is_none_the_page_asks(desk, stack, db, person, contact):
    window = desk(person, troubled=True)
    configure(window, stack, 0.3)
    window.open(f"contacts/{contact['id']}/view")
    window.sees("Nothing is scheduled for this contact yet.")
    write(person, contact, "From elsewhere")
    window.sees("From elsewhere")


def test_changes_without_a_pause_are_looked_up_all_the_same(desk, stack, db, person, contact):
    """As while a campaign goes out."""
    window = desk(person)
    configure(window, stack, NEVER)
    window.page.carry(DOUBLE, "answer")
    window.open(f"contacts/{contact['id']}/view")
    window.sees("Nothing is scheduled for this contact yet.")
    until(lambda: window.page.carry(DOUBLE, "isJoined", MESSAGES))
    window.page.carry(DOUBLE, "publishOnAndOn", MESSAGES)
    write(person, contact, "In the midst of it")
    window.sees("In the midst of it")


@pytest.fixture
def campaign(person):
    return person.insert("campaigns", name="Gold", message="Hi", connection_id=person.connection_id, owner_id=person.id)


def rename(db, campaign, name):
    db.execute("update campaigns set name = %s where id = %s", (name, campaign["id"]))


def test_how_a_campaign_goes_is_looked_up_at_its_own_hints(desk, stack, db, person, campaign):
    window = desk(person)
    configure(window, stack, NEVER)
    window.page.carry(DOUBLE, "answer")
    window.open("campaigns")
    window.sees("Gold")
    tables = ("campaigns", "campaign_runs")
    until(lambda: all(window.page.carry(DOUBLE, "isJoined", table) for table in tables))
    for n, table in enumerate(("campaigns", *tables)):  # the first may come with the looks at the joining
        rename(db, campaign, f"At hint {n}")
        window.page.carry(DOUBLE, "publish", table)
        window.sees(f"At hint {n}")


def test_what_nobody_tells_of_is_asked_for_as_without_realtime(desk, stack, db, person, campaign):
    """The hints of another table say nothing of it, and a table need not be in the publication."""
    template = person.insert("message_templates", name="Offer", body="Hi", owner_id=person.id)
    window = desk(person)
    configure(window, stack, 0.3)
    window.page.carry(DOUBLE, "answer", "campaigns")
    window.open("campaigns")
    window.sees("Gold")
    until(lambda: window.page.carry(DOUBLE, "isJoined", "campaign_runs"))
    rename(db, campaign, "Silver")
    window.sees("Silver")
    window.open("templates")
    window.sees("Offer")
    db.execute("update message_templates set name = 'Loan' where id = %s", (template["id"],))
    window.sees("Loan")
