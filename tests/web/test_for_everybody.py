"""By keyboard, with a screen reader, on a phone, in the dark, from right to left; and nothing from anywhere else."""

import json
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from local.api import ROOT
from local.pictures import cut_off
from tests.helpers.polling import until
from tests.helpers.rows import one
from tests.web.desk import LAPTOP, PHONE
from tests.web.people import DOWNLOADS, add_member

AXE = (ROOT / "node_modules" / "axe-core" / "axe.min.js").read_text()
PLACES = [
    "contacts", "contacts/{contact}/view", "contacts/{contact}/new", "contacts/{contact}/edit",
    "messages", "messages/failed", "messages/calendar", "connections", "connections/{connection}/members",
    "connections/join/token", "bulk", "bulk/list", "templates", "templates/new", "templates/{template}/edit",
    "templates/{template}/preview", "campaigns", "campaigns/new", "campaigns/{draft}", "campaigns/{draft}/edit",
    "appointments/{hospital}/2030-02-10", "appointments/{hospital}/faults", "appointments/{hospital}/hospital",
    "campaigns/{campaign}", "campaigns/of/run/{run}", "campaigns/of/run/{run}/skipped",
]  # fmt: skip
LONG = "Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft"


@pytest.fixture
def furnished(db, person, user):
    """A contact and messages of all kinds, some with words that do not fit."""
    contact = person.insert("contacts", contact_name=f"Asha {LONG}", phone_number="+919876500001")
    person.insert("contacts", contact_name="مريم", phone_number="+971501234567", is_blocked=True)
    later = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    to = {"contact_id": str(contact["id"]), "connection_id": person.connection_id, "scheduled_at": later}
    person.insert(**to, message=f"नमस्ते, आपकी अपॉइंटमेंट कल सुबह 9 बजे है। {LONG}")
    person.insert(
        **to, message="موعدك غدًا في الساعة 9.", is_recurring=True, recurrence_pattern="RRULE:FREQ=MONTHLY;BYDAY=-1FR"
    )
    person.insert(**to, type="image", message="", media_url=f"https://example.com/{LONG}.png", caption="Where")
    for n in range(3):
        person.insert(**to | {"scheduled_at": "2026-01-01T00:00Z", "contact_id": "+1234"}, message=f"To nobody {n}")
    person.insert("connections", name=LONG)
    furnish_hospital(person)
    ids = {"contact": contact["id"], "connection": person.connection_id, "hospital": person.connection_id}
    return ids | furnish_campaigns(db, person, user())


def furnish_hospital(person):
    person.http.post("/rpc/set_up_reminders", json={"connection_id": person.connection_id}).raise_for_status()
    for who in (f"Asha {LONG}", "मीरा नायर", "مريم"):
        person.insert("appointments", connection_id=person.connection_id, patient_name=who, mobile="98765",
                      doctor_name=LONG, date="2030-02-10", time="10:30", followup_date="2030-02-10")  # fmt: skip


def furnish_campaigns(db, person, member):
    """A template, a campaign that is over and one that is a draft with a rehearsal; members and an invitation."""
    cloud = {"name": LONG.lower(), "language": "de", "parameters": ["name"], "header": {"type": "document"}}
    template = person.insert(
        "message_templates", name=f"Offer {LONG}", body=f"{{name}}, {LONG}", owner_id=person.id, cloud=cloud
    )
    common = {
        "connection_id": person.connection_id, "template_id": template["id"], "owner_id": person.id,
        "audience": {"numbers": ["+919876500001", "12", "+919876500001"]}, "variables": {"name": LONG},
    }  # fmt: skip
    now = datetime.now(UTC).isoformat()
    campaign = person.insert("campaigns", name=f"Over {LONG}", scheduled_at=now, status="scheduled", **common)
    draft = person.insert("campaigns", name="مسودة", scheduled_at="2031-01-01T00:00Z", **common)
    person.insert("campaign_rehearsals", campaign_id=draft["id"])
    person.http.post("/rpc/invite_member", json={"connection_id": person.connection_id}).raise_for_status()
    add_member(db, person, member)
    db.execute("update connection_members set name = %s", (LONG,))
    of_it = "select id::text from campaign_runs where campaign_id = %s and finished_at is not null"
    run = until(lambda: db.execute(of_it, (campaign["id"],)).fetchone())
    return {"template": template["id"], "campaign": campaign["id"], "draft": draft["id"], "run": run["id"]}


@pytest.mark.parametrize(
    ("theme", "size", "zone"),
    [("light", LAPTOP, "Asia/Kolkata"), ("dark", PHONE, "America/North_Dakota/New_Salem")],
    ids=["laptop", "phone in the dark"],
)
def test_axe_finds_nothing_and_nothing_is_cut_off(desk, person, furnished, theme, size, zone):
    window = desk(person, colorScheme=theme, viewport=size, timezoneId=zone)
    window.open()
    window.sees("Asha")
    window.page.evaluate(AXE)
    for place in PLACES:
        window.open(place.format(**furnished))
        is_dialog = any(word in place for word in ("{contact}", "{connection}", "{template}", "templates/new", "join"))
        inside = (
            "dialog[open] form, dialog[open] .messages, dialog[open] .bubble"
            if is_dialog
            else "main .card, main table, main article"
        )
        window.page.locator(inside).first().waitFor()
        found = window.page.evaluate(
            "async () => (await axe.run()).violations.map(({ id, nodes }) => [id, nodes.map((node) => node.html)])"
        )
        assert (place, found, cut_off(window.page)) == (place, [], [])
    window.open(f"connections/{person.connection_id}/members")
    window.press("Remove")
    window.button("Yes, remove").waitFor()
    assert cut_off(window.page) == []


def test_everything_is_done_by_keyboard(desk, db, person):
    contact = person.insert("contacts", contact_name="Asha", phone_number="+919876500001")
    window = desk(person).open()
    window.button("Asha").waitFor()
    keys = window.page.keyboard()
    button = window.button("Scheduled messages for Asha: 0")
    button.focus()
    keys.press("Enter")
    window.page.getByRole("tab", name="View Messages").focus()
    keys.press("ArrowRight")
    assert window.page.evaluate("document.activeElement.id") == "tab-new"
    window.field("Message").waitFor()
    reached = []
    for _ in range(25):  # a date and a time are several stops
        keys.press("Tab")
        reached.append(window.page.evaluate("document.activeElement.name || document.activeElement.innerText"))
        if reached[-1] == "message":
            keys.type("By keyboard")
        if reached[-1] == "Schedule Message":
            break
    assert reached[-1] == "Schedule Message", reached
    keys.press("Enter")
    window.sees("Scheduled for")
    keys.press("Escape")
    window.button("Scheduled messages for Asha: 1").waitFor()
    assert one(db, "select message from scheduled_messages") == "By keyboard"
    assert str(one(db, "select contact_id from scheduled_messages")) == str(contact["id"])


def test_texts_run_in_their_own_direction(desk, person, furnished):
    window = desk(person).open("messages")
    window.sees("موعدك")
    directions = window.page.evaluate("""() => Object.fromEntries([...document.querySelectorAll('.text')].map(
        (one) => [one.innerText.slice(0, 4), getComputedStyle(one).direction]))""")
    assert directions["موعد"] == "rtl"
    assert directions["नमस्"] == "ltr"


def test_what_the_daemon_says_runs_from_left_to_right_whatever_it_names(desk, person, db):
    to = {"connection_id": person.connection_id, "contact_id": "مريم", "message": "Hello"}
    person.insert(**to, scheduled_at="2026-01-01T00:00Z")
    window = desk(person).open("messages/failed")
    window.page.locator("article .fault").waitFor()
    [said] = window.texts("article .fault")
    assert said.strip("'").startswith("مريم")
    assert window.page.evaluate("getComputedStyle(document.querySelector('article .fault')).direction") == "ltr"


def test_letters_of_hindi_have_glyphs(desk, person, furnished):
    """What the browser lacks it draws as boxes, all of one width."""
    window = desk(person).open()
    widths = window.page.evaluate("""() => ['क', 'ण', 'र', 'श'].map((text) => {
        const pen = document.createElement('canvas').getContext('2d')
        pen.font = '40px system-ui'
        return pen.measureText(text).width
    })""")
    assert len(set(widths)) == 4


def test_the_policy_of_the_pages_allows_themselves_alone(pages):
    for path in ("/", "/app.js", "/vendor/supabase.js", "/config.js"):
        answer = httpx.get(pages.url + path, trust_env=False)
        assert answer.status_code == 200
        assert answer.headers["content-security-policy"].startswith("default-src 'self';")
    assert httpx.get(f"{pages.url}/vendor/../config.py", trust_env=False).status_code == 404


@pytest.mark.parametrize(
    "key", ["sb_secret_abc", "", "e30.eyJyb2xlIjoic2VydmljZV9yb2xlIn0.x"], ids=["secret", "none", "service role"]
)
def test_with_the_service_key_the_pages_refuse_to_begin(desk, key):
    window = desk()
    configuration = {"url": "", "key": key, "preview": "", "realtime": False}
    window.page.instead("**/config.js", f"export default {json.dumps(configuration)}")
    window.open()
    window.sees("never the service key")


def test_with_ten_thousand_messages_a_page_shows_fifty_and_asks_for_no_more(desk, db, api, person):
    contact = person.insert("contacts", contact_name="Asha", phone_number="+919876500001")
    db.execute(
        """
        insert into scheduled_messages (connection_id, contact_id, message, scheduled_at, created_by, owner_id)
        select %s, %s, 'Message ' || n,
            now() + (n + 60) * interval '1 minute', %s, %s from generate_series(1, 10000) as n
        """,
        (person.connection_id, str(contact["id"]), person.id, person.id),
    )
    asked = []
    api.fault = lambda request, answer: (
        asked.append(len(answer.body))
        if answer and request.method == "GET" and "scheduled_messages" in request.path
        else None
    )
    window = desk(person).open("messages")
    window.sees("Message 50")
    assert len(window.texts("article")) == 50
    window.follow("To come 10,000")
    window.open("messages/calendar")
    window.page.locator(".month a").first().waitFor()
    window.open(f"contacts/{contact['id']}/view")
    window.sees("Message 100")
    window.open()
    window.button("Scheduled messages for Asha: 1000+").waitFor()
    assert max(asked) < 200_000


def test_with_many_connections_a_page_asks_about_those_that_it_shows(desk, db, api, person):
    sql = """
        insert into connections (name, user_id)
        select 'Bed ' || lpad(n::text, 2, '0'), %s from generate_series(1, 30) as n
    """
    db.execute(sql, (person.id,))
    asked = set()
    api.fault = lambda request, _: asked.add(request.body) if "connection_usage" in request.path else None
    window = desk(person).open("connections")
    window.sees("Bed 12")
    assert len(asked) == len(window.texts(".card")) == 12
    window.press("Next")
    window.sees("Bed 13")
    window.misses("Bed 12")
    assert len(asked) == 24


def test_with_ten_thousand_recipients_a_run_shows_fifty_and_all_of_them_are_a_table(desk, db, api, person):
    db.execute("set session_replication_role = replica")
    [campaign] = db.execute(
        """
        insert into campaigns (owner_id, connection_id, name, message, status, audience)
        values (%s, %s, 'Many', 'Hello', 'completed', '{"labels": ["gold"]}') returning id
        """,
        (person.id, person.connection_id),
    ).fetchall()
    [run] = db.execute(
        """
        insert into campaign_runs (campaign_id, owner_id, connection_id, occurrence_at, status, total,
            sent, finished_at)
        values (%s, %s, %s, now(), 'completed', 10000, 10000, now()) returning id
        """,
        (campaign["id"], person.id, person.connection_id),
    ).fetchall()
    db.execute(
        """
        insert into campaign_recipients (run_id, position, name, address)
        select %s, n, 'Person ' || n, '+9198765' || lpad(n::text, 5, '0') from generate_series(1, 10000) as n
        """,
        (run["id"],),
    )
    db.execute(
        """
        insert into scheduled_messages (connection_id, contact_id, message, scheduled_at, status, message_id, sent_at,
            created_by, owner_id, source_id, source_position, source_try)
        select %s, n::text, '=Hello ' || n, now(), 'sent', 'm' || n, now(), %s, %s, %s, n, 0
        from generate_series(1, 10000) as n
        """,
        (person.connection_id, person.id, person.id, run["id"]),
    )
    db.execute("set session_replication_role = origin")
    db.execute("analyze scheduled_messages, campaign_recipients")
    asked = []
    api.fault = lambda request, answer: asked.append(len(answer.body)) if answer and request.method == "GET" else None
    window = desk(person).open("campaigns")
    window.sees("10,000 recipients · 10,000 sent")
    window.open(f"campaigns/{campaign['id']}")
    window.follow("Recipients")
    window.sees("=Hello 50")
    window.press("Next")
    window.sees("=Hello 100")
    window.follow("Sent 10,000")
    until(lambda: window.texts(".text")[:1] == ["=Hello 1"])
    assert len(window.texts("article")) == 50
    assert max(asked) < 100_000

    table = window.page.carry(DOWNLOADS, "press", "Download as CSV")
    lines = table["text"].split("\r\n")
    assert len(lines) == 10_002
    assert lines[10_000].endswith(",'=Hello 10000")
    assert max(asked) < 500_000
