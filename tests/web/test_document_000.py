"""The clinic's panel (document 000), with the mouse: whom to write to."""

import pytest

from tests.helpers.polling import until
from tests.web.people import add_people


@pytest.fixture
def clinic(db, person):
    """Sixty patients, and one each whom nothing can be sent to."""
    add_people(db, person, 60)
    person.insert("contacts", contact_name="Nobody's number", phone_number=None)
    person.insert("contacts", contact_name="Blocked", phone_number="+919876599999", is_blocked=True)
    return person


def test_step_1_select_patients(desk, db, clinic):
    window = desk(clinic).open("bulk")
    # Search and select multiple patients (with phone numbers)
    window.fill("Search contacts", "son 07")
    window.page.getByRole("checkbox", name="Person 07").check()
    window.sees("1 of at most 50 chosen")
    window.fill("Search contacts", "o")
    window.page.getByText("Nobody's number").waitFor()
    assert window.page.getByRole("checkbox", name="Nobody's number").isDisabled()
    assert window.page.getByRole("checkbox", name="Blocked").isDisabled()

    # Can select all or individual patients with checkboxes; at most 50
    window.press("Select all found")
    window.sees("50 of at most 50 chosen")
    window.sees("No more fit in.")
    window.fill("Search contacts", "Person 5")
    until(lambda: window.page.getByRole("checkbox", name="Person 58").count() == 1)
    assert window.page.getByRole("checkbox", name="Person 58").isDisabled()
    window.page.getByText("Who is chosen").click()
    window.press("Remove Person 07")
    window.sees("49 of at most 50 chosen")
    window.page.getByRole("checkbox", name="Person 58").check()
    window.page.reload()
    window.sees("50 of at most 50 chosen")
    window.page.getByText("Who is chosen").click()
    window.press("Remove all")
    window.sees("0 of at most 50 chosen")
