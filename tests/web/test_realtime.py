"""What is shown follows Realtime's hints where there is one, and asks where there is none."""

import json

import pytest

from local.api import ROOT
from tests.helpers.polling import until

DOUBLE = str(ROOT / "tests" / "web" / "realtime.mjs")
NEVER = 100_000  # seconds


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
    until(lambda: window.page.carry(DOUBLE, "isJoined"))
    for text in ("The first", "The second"):  # the first may come with the look at the joining
        write(person, contact, text)
        window.page.carry(DOUBLE, "publish")
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
    until(lambda: window.page.carry(DOUBLE, "isJoined"))
    window.page.carry(DOUBLE, "publishOnAndOn")
    write(person, contact, "In the midst of it")
    window.sees("In the midst of it")
