"""Nothing is lost or doubled: by a double click, a lost answer, a reload, a long sleep, or somebody else's edit."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from tests.helpers.http_server import Reply
from tests.helpers.polling import until
from tests.helpers.proxy import answering, forgetful, only
from tests.helpers.rows import one
from tests.web.desk import Desk

LATER = "2031-05-05T09:00"


@pytest.fixture
def contact(person):
    return person.insert("contacts", contact_name="Asha", phone_number="+919876500001")


def begin(window: Desk, contact, text="Hello"):
    window.open(f"contacts/{contact['id']}/new")
    window.fill("Message", text)
    window.fill("Date and time", LATER)


def texts(db):
    return [row["message"] for row in db.execute("select message from scheduled_messages order by message")]


def change_session(window, **changes):
    """What supabase-js keeps of the session in the browser."""
    window.page.evaluate(f"""() => {{
        const name = Object.keys(localStorage).find((key) => key.endsWith('-auth-token'))
        const session = JSON.parse(localStorage.getItem(name))
        localStorage.setItem(name, JSON.stringify({{ ...session, ...{json.dumps(changes)} }}))
    }}""")


def test_a_double_click_writes_one_row(desk, db, api, person, contact):
    window = desk(person)
    begin(window, contact)
    window.button("Schedule Message").dblclick()
    window.sees("Scheduled for")
    assert texts(db) == ["Hello"]


@pytest.mark.parametrize("fault", [forgetful, answering(Reply(503, {"message": "no"}))], ids=["lost", "refused"])
def test_an_insert_whose_answer_is_lost_is_one_row(desk, db, api, person, contact, fault):
    window = desk(person, troubled=True)
    begin(window, contact)
    posts = []

    def first_post(request, answer):
        if request.method != "POST" or "scheduled_messages" not in request.path:
            return None
        posts.append(request.json()["id"])
        return fault(request, answer) if len(posts) <= 2 else None

    api.fault = first_post
    window.press("Schedule Message")
    window.sees("Scheduled for")
    assert texts(db) == ["Hello"]
    assert len(set(posts)) == 1


def test_what_is_changed_after_a_lost_answer_is_what_counts(desk, db, api, person, contact):
    window = desk(person, troubled=True)
    begin(window, contact)
    # The first answer is lost; after that nothing is answered, until the author gives up and writes something else.
    api.fault = lambda request, answer: None if request.method == "GET" else forgetful(request, answer)
    window.press("Schedule Message")
    window.sees("The server does not answer.")
    assert texts(db) == ["Hello"]
    api.fault = None
    window.fill("Message", "Hello again")
    window.press("Schedule Message")
    window.sees("Scheduled for")
    assert texts(db) == ["Hello again"]


def test_a_duplicated_tab_does_not_write_over_the_message_of_the_first(desk, db, person, contact):
    window = desk(person, troubled=True)
    begin(window, contact, "The first")
    draft = window.stored(f"draft {contact['id']}")
    window.press("Schedule Message")
    window.sees("Scheduled for")
    copied = json.dumps({"id": draft["id"], "values": {**draft["values"], "message": "The second"}})
    window.page.evaluate(f"sessionStorage.setItem('draft {contact['id']}', {json.dumps(copied)})")
    window.page.getByRole("tab", name="Create New").click()
    window.press("Schedule Message")
    window.sees("Scheduled for")
    assert texts(db) == ["The first", "The second"]


def test_what_is_written_outlives_a_reload_and_the_form_begins_anew_once_it_is_sent_off(desk, db, person, contact):
    window = desk(person)
    begin(window, contact, "Half a senten")
    window.page.reload()
    window.sees("Create New")
    until(lambda: window.field("Message").inputValue() == "Half a senten")
    assert window.field("Date and time").inputValue() == LATER
    window.press("Schedule Message")
    window.sees("Scheduled for")
    window.page.getByRole("tab", name="Create New").click()
    assert window.field("Message").inputValue() == ""


def test_a_contact_whose_answer_is_lost_is_added_once(desk, db, api, person):
    window = desk(person, troubled=True).open()
    window.press("Add a contact")
    window.fill("Name", "Ravi")
    window.fill("WhatsApp number", "+919876500002")
    api.fault = lambda request, answer: forgetful(request, answer) if request.method == "POST" else None
    window.page.evaluate("""() => {
        const form = document.querySelector('dialog form')
        form.requestSubmit()
        form.requestSubmit() // before the button could be disabled
    }""")
    window.button("Ravi").waitFor()
    assert one(db, "select count(*) from contacts") == 1


def test_a_question_leaves_the_focus_where_a_person_has_put_it(desk, api, person, contact):
    """Else the space that somebody types, or the "No" that they press, would be "Yes, delete"."""
    window = desk(person).open(f"contacts/{contact['id']}/edit")
    window.press("Delete")
    focused = "document.activeElement.name || document.activeElement.textContent"
    assert window.page.evaluate(focused) == "Yes, delete"
    window.field("Name").focus()
    looks = api.calls["/rest/v1/contacts"]
    until(lambda: api.calls["/rest/v1/contacts"] >= looks + 5)  # the list and the contact, twice at least
    assert window.page.evaluate(focused) == "name"


def test_what_is_too_much_for_the_tab_to_keep_may_be_sent_off_all_the_same(desk, db, person, contact):
    window = desk(person)
    begin(window, contact)
    window.page.evaluate("""() => {
        for (const size of [1 << 20, 1 << 10, 1]) {
            try {
                for (let n = 0; ; n++) sessionStorage.setItem(`${size} ${n}`, 'x'.repeat(size))
            } catch {} // it is full
        }
    }""")
    window.fill("Message", "Hello, more than fits in")
    window.press("Schedule Message")
    window.sees("Scheduled for")
    assert texts(db) == ["Hello, more than fits in"]


@pytest.mark.parametrize("deed", ["Cancel", "Delete"])
def test_a_cancellation_or_deletion_whose_answer_is_lost_is_taken_as_done(desk, db, api, person, contact, deed):
    person.insert(
        contact_id=str(contact["id"]),
        connection_id=person.connection_id,
        message="Hello",
        scheduled_at="2031-01-01T00:00Z",
    )
    window = desk(person, troubled=True).open(f"contacts/{contact['id']}/view")
    api.fault = only(
        "scheduled_messages",
        lambda request, answer: forgetful(request, answer) if request.method in ("PATCH", "DELETE") else None,
        times=1,
    )
    window.press(deed)
    if deed == "Delete":
        window.press("Yes, delete")
        window.sees("Nothing is scheduled")
    else:
        window.page.locator(".status.cancelled").waitFor()
    assert [row["status"] for row in db.execute("select status from scheduled_messages")] == (
        ["cancelled"] if deed == "Cancel" else []
    )


def test_an_edit_outlives_a_reload_and_a_lost_answer(desk, db, api, person, contact):
    person.insert(
        contact_id=str(contact["id"]),
        connection_id=person.connection_id,
        message="Hello",
        scheduled_at="2031-01-01T00:00Z",
    )
    window = desk(person, troubled=True).open(f"contacts/{contact['id']}/view")
    window.press("Edit")
    window.fill("Message", "Hello again")
    window.page.reload()
    window.press("Edit")
    assert window.field("Message").inputValue() == "Hello again"
    answered = []

    def lose_the_first(request, answer):
        if request.method == "PATCH" and answer:
            answered.append(answer.body)
            return forgetful(request, answer) if len(answered) == 1 else None
        return None

    api.fault = lose_the_first
    window.press("Save")
    window.sees("Scheduled for")
    assert texts(db) == ["Hello again"]
    assert answered[1:] == [b"[]"]  # the second found nothing at the revision that it named, and was taken as done
    window.press("Edit")
    window.press("Back")
    assert window.page.evaluate("sessionStorage.length") == 0


def test_an_edit_of_what_somebody_has_changed_since_is_refused_and_so_is_one_of_what_was_sent(
    desk, db, person, contact
):
    row = person.insert(
        contact_id=str(contact["id"]),
        connection_id=person.connection_id,
        message="Hello",
        scheduled_at="2031-01-01T00:00Z",
    )
    window = desk(person, troubled=True).open(f"contacts/{contact['id']}/view")
    window.press("Edit")
    window.fill("Message", "Mine")
    person.update(row["id"], message="Theirs")
    window.press("Save")
    window.sees("has been changed meanwhile")
    assert texts(db) == ["Theirs"]

    window.press("Back")
    window.sees("Theirs")
    window.press("Edit")
    window.fill("Message", "Mine")
    db.execute("update scheduled_messages set status = 'sent', sent_at = now(), message_id = 'm'")
    window.press("Save")
    window.sees("already sent")  # the server's own words
    assert texts(db) == ["Theirs"]


def test_after_a_day_of_sleep_the_session_goes_on_by_itself(desk, db, api, person, contact):
    window = desk(person)
    begin(window, contact, "Before the night")
    yesterday = int((datetime.now(UTC) - timedelta(days=1)).timestamp())
    change_session(window, expires_at=yesterday)
    before = api.calls["/auth/v1/token"]
    window.press("Schedule Message")
    window.sees("Scheduled for")
    assert texts(db) == ["Before the night"]
    assert api.calls["/auth/v1/token"] == before + 1


def test_a_session_that_has_ended_asks_to_sign_in_and_comes_back_to_what_was_being_written(desk, db, person, contact):
    window = desk(person, troubled=True)
    begin(window, contact, "Before the holidays")
    change_session(window, expires_at=1, refresh_token="revoked")
    window.button("Sign in").waitFor()
    window.sign_in(person)
    until(lambda: window.field("Message").inputValue() == "Before the holidays")
    window.press("Schedule Message")
    window.sees("Scheduled for")
    assert texts(db) == ["Before the holidays"]


def test_signing_out_leaves_nothing_for_whoever_comes_next_also_while_the_api_is_away(desk, api, person, contact):
    window = desk(person, troubled=True)
    begin(window, contact, "Private")
    assert window.stored(f"draft {contact['id']}")["values"]["message"] == "Private"
    window.page.keyboard().press("Escape")
    api.cut()
    try:
        window.press("Sign out")
        window.button("Sign in").waitFor()
    finally:
        api.restore()
    assert window.page.evaluate("sessionStorage.length + localStorage.length") == 0
    window.page.reload()
    window.button("Sign in").waitFor()


def test_while_the_api_is_away_what_was_shown_stays_and_says_from_when_it_is(desk, db, api, person, contact):
    window = desk(person, troubled=True).open()
    window.button("Asha").waitFor()
    api.cut()
    try:
        window.sees("The server has not answered since")
        assert window.page.getByRole("button", name="Asha", exact=True).isVisible()
        api.fault = answering(Reply(403, {"code": "P0001", "message": "Not now."}))  # which is an answer, too
    finally:
        api.restore()
    window.misses("The server has not answered since")


def test_while_the_daemon_is_away_messages_wait_and_the_pages_say_so(desk, db, no_daemon, person, contact):
    person.insert(
        contact_id=str(contact["id"]),
        connection_id=person.connection_id,
        message="Late",
        scheduled_at="2026-01-01T00:00Z",
    )
    window = desk(person, troubled=True).open("connections")
    window.sees("The daemon has not taken it up yet")
    window.open(f"contacts/{contact['id']}/new")
    window.field("Recurring message").check()
    window.sees("The next times cannot be shown at the moment.")
    no_daemon.come()
    window.page.getByRole("tab", name="View Messages").click()
    window.page.locator(".status.sent").waitFor()
    window.open("connections")
    window.sees("Nothing waits.")


def test_two_people_side_by_side_see_and_change_their_own(desk, db, user):
    people = [user(), user()]
    contacts = [
        p.insert("contacts", contact_name=name, phone_number="+919876500001")
        for p, name in zip(people, ["Asha", "Ravi"], strict=True)
    ]
    windows = [desk(p) for p in people]
    for window, contact, text in zip(windows, contacts, ["One", "Two"], strict=True):
        window.schedule(contact, text, wall=LATER)
    for window, mine, others in zip(windows, ["One", "Two"], ["Two", "One"], strict=True):
        window.open("messages")
        window.sees(mine)
        assert window.page.getByText(others, exact=True).count() == 0
    # The address of somebody else's contact is that of nobody.
    windows[0].open(f"contacts/{contacts[1]['id']}/view")
    windows[0].sees("There is no such contact.")


NOWHERE = {
    "contacts/99999999999999999999/view": "There is no such contact.",
    "contacts/abc/edit": "There is no such contact.",
    "contacts/%": "There is no such contact.",
    "templates/abc/edit": "There is no such template.",
    "campaigns/abc": "There is no such campaign.",
    "campaigns/abc/edit": "There is no such campaign.",
    "campaigns/abc/run/12": "There is no such run.",
    "connections/abc/members": "There is no such connection.",
    "messages/sent/2026-13-45": "Nothing has been sent yet.",
    "messages/sent/2026-02-30": "Nothing has been sent yet.",
    "appointments/abc/2026-02-30": "No appointments on this day.",
    "nowhere/at/all": "No contacts yet.",
    "contacts/new": "Add a contact",  # a place like those of other pages, and no id
}


def test_an_address_of_nothing_says_so(desk, person):
    window = desk(person, troubled=True).open()
    for place, words in NOWHERE.items():
        window.open(place)
        window.sees(words)
        assert (place, window.page.getByText("invalid").count()) == (place, 0)
