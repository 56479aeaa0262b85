"""Before a campaign goes out: its rehearsal, what is to be expected of it, a test to oneself."""

import pytest

from tests.helpers.polling import until
from tests.helpers.proxy import forgetful
from tests.helpers.rows import one
from tests.web.people import add_people


@pytest.fixture
def draft(db, person):
    """Thirty recipients, five of them with something wrong."""
    add_people(db, person, 30)
    for name, change in {
        "Person 02": "contact_name = null", "Person 05": "is_blocked = true", "Person 07": "phone_number = null",
        "Person 09": "phone_number = '12'", "Person 11": "phone_number = '+919876500010'",
    }.items():  # fmt: skip
        db.execute(f"update contacts set {change} where contact_name = %s", (name,))
    return person.insert(
        "campaigns", name="Gold", connection_id=person.connection_id, message="Dear {name}, {offer} \u0644\u0643 😀",
        variables={"offer": "{name} is text"}, audience={"labels": ["gold"]}, scheduled_at="2031-05-05T09:00Z",
        timezone="Asia/Kolkata", owner_id=person.id,
    )  # fmt: skip


def figures(window):
    return dict(text.rsplit(" ", 1) for text in window.texts("section[aria-label=Rehearsal] .counts > div"))


def test_a_rehearsal_shows_each_recipient_in_turn_and_the_faults_by_row(desk, db, person, draft):
    window = desk(person, troubled=True).open(f"campaigns/{draft['id']}")
    window.press("Rehearse")
    expected = {
        "Recipients": "30", "Would be sent": "25", "Twice in it": "1", "Without a value": "1", "Without a number": "1",
        "With a number that is none": "1", "Blocked": "1",
    }  # fmt: skip
    until(lambda: figures(window) == expected, of="the figures")
    window.sees("Recipient 1 of 30")
    until(lambda: window.texts(".viewer .bubble") == ["Dear Person 00, {name} is text لك 😀"])
    assert window.button("Previous").first().isDisabled()
    window.button("Next").first().click()
    window.sees("Recipient 2 of 30")
    until(lambda: window.texts(".viewer .bubble") == ["Dear Person 01, {name} is text لك 😀"])
    window.button("Next").first().click()
    until(lambda: window.texts(".viewer .fault") == ["No value for {name}."])
    assert window.page.getByText("where the recipient is").count() == 0
    window.button("Previous").first().click()
    window.sees("At 2031-05-05 14:30 where the recipient is")

    until(lambda: len(window.texts(".rows li")) == 5)
    window.choose("Faults by row", "blocked")
    until(lambda: window.texts(".rows li") == ["#6 Person 05 This contact is blocked."])
    window.press("Show recipient 6")
    window.sees("Recipient 6 of 30")

    # It is of the campaign as it was; asked again, it is of the campaign as it is.
    person.http.patch("/campaigns", params={"id": f"eq.{draft['id']}"}, json={"message": "Hello"}).raise_for_status()
    window.sees("The campaign was changed since this rehearsal.")
    window.press("Rehearse again")
    until(lambda: window.texts(".viewer .bubble") == ["Hello"])
    until(lambda: "Without a value" not in figures(window))


def test_what_is_to_be_expected_is_told_with_the_reason_why_nothing_would_go_out(desk, db, person, draft):
    db.execute("insert into connection_settings (connection_id, messages, period_seconds) values (%s, 1, 60)",
        (person.connection_id,))  # fmt: skip
    window = desk(person, troubled=True).open(f"campaigns/{draft['id']}")
    window.sees("30 messages, the first at Mon 5 May 2031, 14:30 Asia/Kolkata, the last at about Mon 5 May 2031, 14:59")
    db.execute("update connections set connected = false")
    window.press("Activate")
    window.page.getByRole("alert").getByText("The WhatsApp connection is not connected.").first().waitFor()
    window.page.reload()
    window.page.locator("section[aria-label='What is to be expected'] .fault").waitFor()


def test_a_test_goes_to_oneself_once(desk, db, api, person, draft):
    window = desk(person, troubled=True).open(f"campaigns/{draft['id']}")
    window.fill("Your own WhatsApp number", "98765")
    window.press("Send a test")
    window.sees("Write the number with its country code, such as +91 98765 43210.")
    lost = []

    def lose_the_first(request, answer):
        if "send_test" in request.path and answer and not lost:
            lost.append(answer.status)
            return forgetful(request, answer)
        return None

    api.fault = lose_the_first
    window.fill("Your own WhatsApp number", "+91 98765 43210")
    window.button("Send a test").dblclick()
    window.sees("It is on its way to you.")
    assert lost == [200]
    assert one(db, "select count(*) from scheduled_messages") == 1
    row = db.execute("select contact_id, message, source_id from scheduled_messages").fetchone()
    assert row == {"contact_id": "+91 98765 43210", "message": "Dear {name}, {name} is text لك 😀", "source_id": None}
