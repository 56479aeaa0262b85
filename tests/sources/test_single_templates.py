"""A single message that uses a template: document 001's wish, as its author sees it through the API."""

from typing import Any
from uuid import uuid4

import pytest

from tests.helpers.accounts import User, only
from tests.helpers.rows import message, one, schedule
from tests.sources.conftest import SHOWN, Shop, join, soon
from tests.sql.states import add_job

CLOUD = {"name": "visit", "language": "en_US", "parameters": ["name", "doctor"], "format": "named"}


def person(shop: Shop, name: str = "Asha", number: str = "+919876500001") -> str:
    sql = "insert into contacts (owner_id, phone_number, contact_name) values (%s, %s, %s) returning id::text"
    return str(one(shop.db, sql, shop.user.id, number, name))


def written(shop: Shop, template: str, **columns: Any) -> dict[str, Any]:
    row = {
        "connection_id": shop.connection, "contact_id": "+919876500002", "message": "", "scheduled_at": soon(3600),
        "template_id": template, **columns,
    }  # fmt: skip
    return shop.user.insert(**row)


def refused(shop: Shop, template: str, **columns: Any) -> tuple[int, str]:
    row = {"connection_id": shop.connection, "contact_id": "+919876500002", "message": "", "scheduled_at": soon()}
    answer = shop.user.http.post("/scheduled_messages", json={**row, "template_id": template, **columns})
    return answer.status_code, str(answer.json().get("message"))


def edit_template(shop: Shop, template: str, **columns: Any) -> None:
    shop.user.http.patch("/message_templates", params={"id": f"eq.{template}"}, json=columns).raise_for_status()


def same(row: dict[str, Any]) -> dict[str, Any]:
    """But when it was last written."""
    return {name: value for name, value in row.items() if name != "updated_at"}


def texts(shop: Shop) -> list[str]:
    found = shop.user.http.get("/scheduled_messages", params={"order": "scheduled_at"}).json()
    return [row["message"] for row in found]


def test_it_is_rendered_when_it_is_written_from_its_contact_its_values_and_the_defaults(shop):
    template = shop.template("Dear {{ Name }}, Dr {doctor} on {day}. {not one!", defaults={"day": "Monday"})
    row = written(shop, template, contact_id=person(shop), variables={"Doctor": "{day}"})
    assert (row["message"], row["status"]) == ("Dear Asha, Dr {day} on Monday. {not one!", "pending")
    assert (row["category"], row["type"]) == ("utility", "text")


def test_its_own_values_come_before_its_contacts_and_those_before_the_defaults(shop):
    template = shop.template("{name} {email}", defaults={"name": "you", "email": "-"})
    contact = person(shop)
    assert written(shop, template, contact_id=contact)["message"] == "Asha -"
    assert written(shop, template, contact_id=contact, variables={"name": "Mrs Rao"})["message"] == "Mrs Rao -"
    assert written(shop, template)["message"] == "you -"


def test_a_file_has_its_text_as_the_caption(shop):
    template = shop.template("For {name}", type="image", media_url="https://e.com/a.png")
    row = written(shop, template, variables={"name": "Asha"})
    assert (row["type"], row["media_url"], row["caption"], row["message"]) == (
        "image", "https://e.com/a.png", "For Asha", "",
    )  # fmt: skip


def test_the_approved_template_stands_beside_the_text(shop):
    template = shop.template("Dear {name}", cloud=CLOUD)
    row = written(shop, template, variables={"name": "Asha", "doctor": "Mehta"})
    values = [("name", "Asha"), ("doctor", "Mehta")]
    parameters = [{"type": "text", "parameter_name": name, "text": text} for name, text in values]
    body = {"type": "body", "parameters": parameters}
    assert row["template"] == {"name": "visit", "language": {"code": "en_US"}, "components": [body]}
    assert row["message"] == "Dear Asha"


@pytest.mark.parametrize(
    ("header", "component"),
    [
        ("Name", {"type": "text", "text": "Asha"}),
        ({"type": "image"}, {"type": "image", "image": {"link": "https://e.com/a.png"}}),
        (
            {"type": "document", "link": "https://e.com/{name}.pdf", "filename": "Plan.pdf"},
            {"type": "document", "document": {"link": "https://e.com/Asha.pdf", "filename": "Plan.pdf"}},
        ),
    ],
)
def test_its_header_is_a_value_or_a_file(shop, header, component):
    cloud = {"name": "t", "language": "en", "parameters": ["name", "name"], "header": header}
    template = shop.template("Hi {name}", cloud=cloud, type="image", media_url="https://e.com/a.png")
    text = {"type": "text", "text": "Asha"}
    assert written(shop, template, variables={"name": "Asha"})["template"]["components"] == [
        {"type": "header", "parameters": [component]}, {"type": "body", "parameters": [text, text]},
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({}, "No value for {doctor}, {name}."),
        ({"variables": {"name": " ", "doctor": "Mehta"}}, "No value for {name}."),
        ({"variables": ["name"]}, "No value for {doctor}, {name}."),
        ({"template_id": "00000000-0000-4000-8000-000000000000"}, "There is no such template for this connection."),
    ],
)
def test_a_fault_is_told_in_words_when_it_is_written(shop, columns, words):
    template = shop.template("{name} {doctor} {name}")
    status, said = refused(shop, template, **columns)
    assert (status, words in said) == (403 if "template_id" in columns else 400, True), said
    row = schedule(
        shop.db, connection_id=shop.connection, owner_id=shop.user.id, scheduled_at=soon(60), message="",
        **{"template_id": template, **{k: v for k, v in columns.items() if k == "template_id"}},
    )  # fmt: skip
    assert message(shop.db, row)["status"] == "failed"  # nobody is there to be told: the row says it


def test_what_may_be_missing_is_nothing(shop):
    template = shop.template("Hi {name}!", on_missing="blank")
    assert written(shop, template)["message"] == "Hi !"


def test_another_owners_template_is_none_and_tells_nothing_of_itself(shop, other_shop):
    theirs = other_shop.template("{their_secret}")
    ours = shop.template("Hello", connection_id=shop.connection)
    for columns in ({}, {"connection_id": other_shop.connection}):
        status, said = refused(shop, theirs, **columns)
        assert status == 403
        assert "secret" not in said
    second = shop.user.insert("connections", name="second")
    status, said = refused(shop, ours, connection_id=second["id"])
    assert (status, "no such template for this connection" in said) == (403, True)


def test_while_it_waits_it_follows_its_template(shop):
    template = shop.template("Hi {name}")
    rows = [written(shop, template, variables={"name": name}, scheduled_at=soon(60 + n)) for n, name in enumerate("ab")]
    edit_template(shop, template, body="Hello {name}!", category="marketing")
    assert texts(shop) == ["Hello a!", "Hello b!"]
    assert [shop.user.row(row["id"])["category"] for row in rows] == ["marketing"] * 2
    assert [shop.user.row(row["id"])["revision"] > row["revision"] for row in rows] == [True, True]


def test_a_value_that_its_template_now_needs_fails_it_and_it_comes_back_when_that_is_put_right(shop):
    template = shop.template("Hi")
    row = written(shop, template)
    edit_template(shop, template, body="Hi {name}")
    failed = shop.user.row(row["id"])
    assert (failed["status"], failed["error"]) == ("failed", "No value for {name}.")
    edit_template(shop, template, defaults={"name": "you"})
    again = shop.user.row(row["id"])
    assert (again["status"], again["error"], again["message"]) == ("pending", None, "Hi you")


def test_while_it_waits_it_follows_its_own_values(shop):
    template = shop.template("Hi {name}")
    row = written(shop, template, variables={"name": "a"})
    changed = shop.user.update(row["id"], variables={"name": "b"})
    assert (changed["message"], changed["revision"] > row["revision"]) == ("Hi b", True)
    with pytest.raises(Exception, match="400"):
        shop.user.update(row["id"], variables={})
    assert shop.user.row(row["id"])["message"] == "Hi b"


@pytest.mark.parametrize(
    ("column", "value", "text"),
    [("contact_name", "Mrs Rao", "Mrs Rao +919876500001"), ("phone_number", "+1", "Asha +1")],
)
def test_while_it_waits_it_follows_its_contact(shop, column, value, text):
    contact = person(shop)
    row = written(shop, shop.template("{name} {phone_number}"), contact_id=contact)
    params = {"id": f"eq.{contact}"}
    shop.user.http.patch("/contacts", params=params, json={column: value}).raise_for_status()
    assert shop.user.row(row["id"])["message"] == text


async def test_what_waits_for_its_turn_is_taken_back_and_what_went_out_stays_as_it_was(shop, parts):
    shop.settings(messages=1, period_seconds=3600)
    template = shop.template("Hi {name}")
    rows = [written(shop, template, variables={"name": name}, scheduled_at=soon(-60)) for name in "ab"]
    daemon = await parts()
    await daemon.scheduler.poll()
    await daemon.dispatcher.send_all()

    edit_template(shop, template, body="Hello {name}")

    found = {row["status"]: row for row in (shop.user.row(row["id"]) for row in rows)}
    assert (found["sent"]["message"][:3], found["pending"]["message"][:6]) == ("Hi ", "Hello ")
    await daemon.scheduler.poll()
    job = one(shop.db, "select message from broadcast_jobs where status = 'queued'")
    assert job == found["pending"]["message"]


@pytest.mark.parametrize("job", ["sending", "handed_over", "active", "completed"])
def test_what_is_being_sent_keeps_its_text_when_its_template_or_its_contact_changes(shop, job):
    contact = person(shop)
    template = shop.template("Hi {name}")
    row = written(shop, template, contact_id=contact)["id"]
    sent = str(uuid4())
    sql = "update scheduled_messages set status = 'processing', broadcast_job_id = %s where id = %s"
    shop.db.execute(sql, (sent, row))
    add_job(shop.db, sent, row, job)

    edit_template(shop, template, body="Hello {name}")
    params = {"id": f"eq.{contact}"}
    shop.user.http.patch("/contacts", params=params, json={"contact_name": "Mrs Rao"}).raise_for_status()

    left = shop.user.row(row)
    assert (left["status"], left["message"]) == ("processing", "Hi Asha")


async def test_its_successor_is_rendered_anew(shop, parts):
    contact = person(shop)
    template = shop.template("Hi {name}", cloud={"name": "t", "language": "en", "parameters": ["name"]})
    daily = {"is_recurring": True, "recurrence_pattern": "daily", "scheduled_at": soon(-60), "contact_id": contact}
    row = written(shop, template, **daily)
    with shop.unguarded():  # as if nobody had seen the change
        shop.db.execute("update contacts set contact_name = 'Mrs Rao'")
    daemon = await parts()
    await daemon.scheduler.poll()
    await daemon.dispatcher.send_all()

    first = shop.user.row(row["id"])
    second = shop.user.row(first["next_id"])
    assert (first["status"], first["message"]) == ("sent", "Hi Asha")
    assert (second["status"], second["message"], second["template_id"]) == ("pending", "Hi Mrs Rao", template)
    assert second["template"]["components"][0]["parameters"] == [{"type": "text", "text": "Mrs Rao"}]


def test_a_front_end_that_writes_the_whole_row_back_changes_nothing(shop):
    template = shop.template("Hi {name}", cloud={"name": "t", "language": "en", "parameters": ["name"]})
    row = written(shop, template, variables={"name": "a"})
    again = shop.user.http.post(
        "/scheduled_messages", json=row, headers={"prefer": f"resolution=merge-duplicates,{SHOWN['prefer']}"}
    )
    assert same(only(again)) == same(row)
    assert same(shop.user.update(row["id"], **row)) == same(row)
    assert shop.user.update(row["id"], **{**row, "message": "by hand"})["message"] == "Hi a"


def test_without_its_template_it_is_written_by_hand_again(shop):
    template = shop.template("Hi {name}")
    row = written(shop, template, variables={"name": "a"})
    free = shop.user.update(row["id"], template_id=None, message="By hand")
    assert free["message"] == "By hand"
    edit_template(shop, template, body="Hello")
    assert shop.user.row(row["id"])["message"] == "By hand"


def test_a_template_that_is_deleted_leaves_what_it_has_said(shop):
    template = shop.template("Hi {name}")
    row = written(shop, template, variables={"name": "a"})
    shop.user.http.delete("/message_templates", params={"id": f"eq.{template}"}).raise_for_status()
    left = shop.user.row(row["id"])
    assert (left["message"], left["status"], left["template_id"]) == ("Hi a", "pending", None)


async def test_a_campaigns_messages_take_no_template_of_their_own(shop, forward):
    shop.contacts(1)
    campaign = shop.campaign(scheduled_at=soon(30))
    await forward(send=False)
    [made] = shop.messages(campaign)
    template = shop.template("Something else")
    answer = shop.user.http.patch(
        "/scheduled_messages", params={"id": f"eq.{made['id']}"}, json={"template_id": template, "message": "x"}
    )
    assert answer.status_code == 409
    assert shop.messages(campaign)[0]["message"] == "Hello Name 0"


def test_staff_use_the_templates_of_the_connections_owner(shop, user):
    staff: User = user()
    template = shop.template("Hi {name}", connection_id=shop.connection)
    row = {
        "connection_id": shop.connection, "contact_id": "+919876500002", "scheduled_at": soon(3600), "message": "",
        "template_id": template, "variables": {"name": "a"}, "owner_id": shop.user.id, "created_by": staff.id,
    }  # fmt: skip
    before = staff.http.post("/scheduled_messages", json=row)
    assert before.status_code in (400, 403)
    join(shop, staff)
    assert staff.insert(**row)["message"] == "Hi a"


@pytest.mark.parametrize(
    ("cloud", "taken"),
    [
        ({}, True),
        ({"parameters": []}, True),
        ({"parameters": ["name"], "header": "name"}, True),
        ({"header": {"type": "video"}}, True),
        ({"parameters": [1]}, False),
        ({"parameters": "name"}, False),
        ({"parameters": None}, False),
        ({"format": "other"}, False),
        ({"header": {"type": "text"}}, False),
        ({"header": {"type": "image", "link": 7}}, False),
        ({"header": ["name"]}, False),
        ({"name": None}, False),
    ],
)
def test_what_stands_for_a_template_at_whatsapp_is_looked_at_when_it_is_written(shop, cloud, taken):
    row = {"name": "x", "body": "Hi {name}", "owner_id": shop.user.id, "cloud": {"name": "x", "language": "en"} | cloud}
    answer = shop.user.http.post("/message_templates", json=row)
    assert answer.is_success is taken, answer.text
    assert taken or answer.status_code == 400


def test_a_templates_change_reads_the_contacts_of_all_that_wait_at_once(shop):
    """One by one, ten thousand took 14 s: longer than the API waits, so that such a text could not be changed."""
    template = shop.template("Hi {name}")
    rows = [written(shop, template, contact_id=contact)["id"] for contact in shop.contacts(4)]

    with shop.db.transaction():
        shop.db.execute("set local track_functions = 'all'")
        shop.db.execute("update message_templates set body = 'Hello {name}' where id = %s", (template,))
        calls = "select sum(calls)::int from pg_stat_xact_user_functions where funcname = 'people'"
        assert one(shop.db, calls) == 1

    assert [shop.user.row(row)["message"] for row in rows] == [f"Hello Name {n}" for n in range(4)]
    shop.user.update(rows[0], variables={"name": "Asha"})  # what is written afterwards is rendered as ever
    assert shop.user.row(rows[0])["message"] == "Hello Asha"
