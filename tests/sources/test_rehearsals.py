"""What a campaign would send, asked before it sends: by its owner, through the API."""

from datetime import UTC, datetime, timedelta
from unicodedata import category
from zoneinfo import ZoneInfo

import pytest

from tests.helpers.counting_gateway import CountingGateway
from tests.sources.conftest import DRAFT, soon, take_forward
from worker.text.characters import is_blank


async def test_the_first_lines_are_there_at_once_and_the_head_when_the_daemon_has_worked_it_out(shop, rehearsed):
    shop.contacts(600)
    campaign = shop.campaign(**DRAFT, timezone="Asia/Kolkata")

    asked = shop.rehearse(campaign)

    assert (asked["progress"], asked["total"], asked["finished_at"]) == (500, None, None)
    page = shop.lines(campaign)
    assert [line["position"] for line in page] == list(range(1, 51))
    assert {**page[0], "local_time": page[0]["local_time"].replace(" ", "T")} == {
        "position": 1, "name": "Name 0", "address": "+919876500000", "local_time": "2030-12-01T10:00:00",
        "text": "Hello Name 0", "fault": None, "fault_kind": None, "is_checked": False,
    }  # fmt: skip
    assert len(shop.lines(campaign, after=490)) == 10
    # Numbers that nobody has judged yet are nobody's double.
    assert {line["fault"] for line in shop.lines(campaign, lines=1000)} == {None}

    await rehearsed()

    head = shop.rehearsal(campaign)
    assert (head["total"], head["progress"], head["will_be_sent"], head["faults"]) == (600, 600, 600, {})
    assert datetime.fromisoformat(head["first_departure_at"]) == datetime(2030, 12, 1, 4, 30, tzinfo=UTC)
    assert [line["position"] for line in shop.lines(campaign, after=590)] == list(range(591, 601))
    assert {line["is_checked"] for line in shop.lines(campaign, lines=1000)} == {True}


async def test_faults_are_counted_by_kind_and_duplicates_apart(shop, rehearsed):
    shop.contacts(3)
    shop.db.execute(
        """
        insert into contacts (owner_id, phone_number, contact_name, labels, is_blocked) values
        (%(me)s, '98765 00001', 'Twice', '{gold}', false), (%(me)s, null, 'None', '{gold}', false),
        (%(me)s, '', 'Empty', '{gold}', false), (%(me)s, '+919876511111', 'Blocked', '{gold}', true),
        (%(me)s, '12', 'Short', '{gold}', false), (%(me)s, '+919876522222', ' ', '{gold}', false),
        (%(me)s, '+919876533333', 'Staff', '{gold,staff}', false),
        (%(me)s, '+919876511111', 'With a blocked one''s number', '{gold}', false)
        """,
        {"me": shop.user.id},
    )
    shop.settings(country_code="IN")
    campaign = shop.campaign(**DRAFT, audience={"labels": ["gold"], "except": {"labels": ["staff"]}})
    shop.rehearse(campaign)

    await rehearsed()

    head = shop.rehearsal(campaign)
    assert (head["total"], head["will_be_sent"], head["duplicates"], head["opted_out"]) == (11, 4, 1, 0)
    assert head["faults"] == {"no_number": 2, "blocked": 1, "bad_number": 1, "missing_value": 1, "excepted": 1}
    faulty = [line for line in shop.lines(campaign) if line["fault"]]
    assert {line["local_time"] for line in faulty} == {None}
    assert [line["fault_kind"] for line in faulty] == [
        "duplicate", "no_number", "no_number", "blocked", "bad_number", "missing_value", "excepted",
    ]  # fmt: skip
    params = {"fault_kind": "eq.no_number", "order": "position"}
    rows = shop.user.http.get("/campaign_rehearsal_lines", params=params).json()
    assert [row["fault"] for row in rows] == ["This contact has no phone number."] * 2


ODD = [
    "Asha", "{name}", "{{offer}}", "{not closed", "}{", "%s %% \\ \\1 & ' \" $1", "null", "<b>",
    "Ash\u00e1 \U0001f33a\U0001f469\u200d\u2695\ufe0f", "\u0639\u0644\u064a", "a\u200fb\u202ec", " spaced  ",
    "line\nbreak\ttab", "\u0930\u093e\u0939\u0941\u0932", "x" * 1200, "123456", "1234567", "\U0001f33a" * 6,
    "\U0001f33a" * 7, "\u200b", "\u00a0", "", None, " ", "\u2028",
]  # fmt: skip
BODIES = [
    ("en", "Dear {name}, {{ Offer }} until {day}! {1} { } {not a place!"),
    ("hi", "\u0928\u092e\u0938\u094d\u0924\u0947 {{NAME}} \u2014 {offer} {Day}"),
    ("ar", "\u0645\u0631\u062d\u0628\u0627 {name}"),
    ("en", "x" * 4090 + "{name}"),
    ("en", "{name}"),
    ("en", " {nick} "),
]


@pytest.mark.parametrize("on_missing", ["fault", "blank"])
async def test_what_a_rehearsal_says_is_what_goes_out(shop, parts, rehearsed, on_missing):
    """Text by text and fault by fault, over odd names and texts; WAHA's sendText takes the text as it is
    (WAHA/src/api/chatting.controller.ts).
    """
    contacts = [
        shop.db.execute(
            "insert into contacts (owner_id, phone_number, contact_name, labels) values (%s, %s, %s, '{gold}') "
            "returning id", (shop.user.id, f"+9198765{n:05}", name),
        ).fetchone()["id"]
        for n, name in enumerate(ODD)
    ]  # fmt: skip
    with CountingGateway() as gateway:
        daemon = await parts(gateway="waha", waha_url=gateway.url)
        for language, body in BODIES:
            template = shop.template(
                body, language=language, on_missing=on_missing, defaults={"day": "Friday", "nick": "\u200e"}
            )
            campaign = shop.campaign(
                **DRAFT, template_id=template, message="", variables={"OFFER": "{name} gets 10% {day}"},
                audience={"contacts": [*contacts, contacts[0]]},
            )  # fmt: skip
            shop.rehearse(campaign)
            await rehearsed()
            said = shop.lines(campaign, lines=1000)
            before = len(gateway.received)

            shop.set(campaign, scheduled_at=soon(0), status="scheduled")
            await take_forward(daemon)

            run = shop.run(campaign)
            assert run["finished_at"], run
            got = {one.chat_id: one.text for one in gateway.received[before:]}
            expected = {f"{line['address'][1:]}@c.us": line["text"] for line in said if not line["fault"]}
            assert got == expected
            assert len(gateway.received) - before == len(expected) == run["sent"]
            params = {"run_id": f"eq.{run['id']}", "order": "position"}
            recipients = shop.user.http.get("/campaign_recipients", params=params).json()
            assert [(one["position"], one["name"], one["fault"]) for one in recipients] == [
                (line["position"], line["name"], line["fault"]) for line in said
            ]
            assert shop.rehearsal(campaign)["will_be_sent"] == run["sent"]


async def test_recipients_clocks_count_in_a_rehearsal_as_in_the_run(shop, rehearsed, forward):
    """A time of day that is still to come in India and New York, and has passed in Tokyo."""
    numbers = ["+12125550123", "+819012345678", "+919876512345", "+61412345678"]
    at = datetime.now(ZoneInfo("Asia/Kolkata")) + timedelta(minutes=5)
    campaign = shop.campaign(
        **DRAFT | {"scheduled_at": at.isoformat()}, timezone="Asia/Kolkata", zone_of="recipient", message="Hi",
        audience={"numbers": numbers},
    )  # fmt: skip
    shop.rehearse(campaign)
    await rehearsed()
    said, head = shop.lines(campaign), shop.rehearsal(campaign)
    assert head["faults"] == {"passed": 1}
    wall = at.replace(tzinfo=None)
    for line in said:
        shown = line["local_time"] and datetime.fromisoformat(line["local_time"])
        assert (shown == wall) is (line["fault"] is None), line
    first, last = (datetime.fromisoformat(head[f"{name}_departure_at"]) for name in ("first", "last"))
    assert (first, last) == (at, at.replace(tzinfo=ZoneInfo("America/New_York")))

    shop.set(campaign, status="scheduled")
    await forward(send=False)

    params = {"run_id": f"eq.{shop.run(campaign)['id']}", "order": "position"}
    frozen = shop.user.http.get("/campaign_recipients", params=params).json()
    assert [row["fault"] for row in frozen] == [line["fault"] for line in said]
    assert "in Asia/Tokyo had passed already" in frozen[1]["fault"]
    params = {"lines_id": f"eq.{head['lines_id']}", "order": "position"}
    lines = shop.user.http.get("/campaign_rehearsal_lines", params=params).json()
    assert [(row["timezone"], row["due_at"]) for row in frozen] == [(row["timezone"], row["due_at"]) for row in lines]
    [estimate] = shop.user.http.post("/rpc/estimate_campaign", json={"id": campaign["id"]}).json()
    assert datetime.fromisoformat(estimate["ends_at"]) == last


async def test_an_id_that_only_the_cloud_api_writes_to_is_a_fault_elsewhere(shop, rehearsed):
    campaign = shop.campaign(**DRAFT, message="Hi", audience={"numbers": ["US.13491208655302741918", "+919876500000"]})
    shop.rehearse(campaign)
    await rehearsed(gateway="waha", waha_url="http://127.0.0.1:9")
    faults = [line["fault"] for line in shop.lines(campaign)]
    assert ("only the WhatsApp Cloud API" in faults[0], faults[1]) == (True, None)

    shop.settings(gateway="cloud")
    shop.set(campaign, message="Hello")
    shop.rehearse(campaign)
    await rehearsed(gateway="waha", waha_url="http://127.0.0.1:9")
    assert [line["fault"] for line in shop.lines(campaign)] == [None, None]


async def test_a_campaign_that_fails_at_the_daily_limit_says_so_before(shop, rehearsed):
    shop.contacts(5)
    shop.settings(daily_limit=3)
    campaign = shop.campaign(**DRAFT, at_daily_limit="fail")
    [estimate] = shop.user.http.post("/rpc/estimate_campaign", json={"id": campaign["id"]}).json()
    assert "these are 5 messages, and today's limit of the connection leaves 3" in estimate["reason"]


@pytest.mark.parametrize("media_url", ["ftp://example.com/a.png", "https://example.com/a.flv", "a.png"])
async def test_a_file_that_can_be_sent_to_nobody_is_said_before_and_nothing_is_sent(
    shop, rehearsed, forward, media_url
):
    """In the words of a single message's fault; a recurring campaign tries again the next time."""
    shop.contacts(2)
    file = {"type": "video" if "flv" in media_url else "image", "media_url": media_url, "message": ""}
    row = shop.user.insert(
        connection_id=shop.connection, contact_id="+919876500099", scheduled_at=soon(0), **file
    )  # fmt: skip
    campaign = shop.campaign(**DRAFT | file, is_recurring=True, recurrence_pattern="daily")
    shop.rehearse(campaign)
    await rehearsed()
    said = {line["fault"] for line in shop.lines(campaign)}
    assert shop.rehearsal(campaign)["faults"] == {"content": 2}

    shop.set(campaign, scheduled_at=soon(0), status="scheduled")
    await forward()

    assert said == {shop.user.row(row["id"])["error"]}
    run = shop.run(campaign)
    assert (run["status"], {run["status_reason"]}, run["total"]) == ("failed", said, 0)
    assert shop.seen(campaign)["status"] == "scheduled"


def test_what_shows_nothing_is_the_same_for_the_database_as_for_the_planning(db):
    """But for marks without a letter, which are hundreds."""
    characters = [chr(n) for n in range(1, 0xE1000) if not 0xD800 <= n < 0xE000]
    blank = {c for c in characters if category(c) not in ("Mn", "Me") and is_blank(c)}
    beside = {chr(ord(c) + step) for c in blank for step in (-1, 1)} - {"\0"} | {"\u034f", "\ufe0f"}
    asked = sorted(blank | {c for c in beside if not 0xD800 <= ord(c) < 0xE000})
    rows = db.execute("select c, private.is_blank(c) as blank from unnest(%s::text[]) as c", (asked,))

    assert [c for c in (row["c"] for row in rows if row["blank"]) if not is_blank(c)] == []
    rows = db.execute("select c, private.is_blank(c) as blank from unnest(%s::text[]) as c", (sorted(blank),))
    assert [row["c"] for row in rows if not row["blank"]] == []


async def test_nothing_is_done_again_while_nothing_has_changed(shop, rehearsed):
    shop.contacts(3)
    template = shop.template("Hello {name}")
    campaign = shop.campaign(**DRAFT, template_id=template, message="")
    first = shop.rehearse(campaign)["lines_id"]
    await rehearsed()

    assert shop.rehearse(campaign)["lines_id"] == first
    assert shop.rehearsal(campaign)["finished_at"] is not None

    shop.set(campaign, audience={"labels": ["gold", "silver"]})
    second = shop.rehearse(campaign)
    assert (second["lines_id"] != first, second["finished_at"]) == (True, None)
    await rehearsed()

    params = {"id": f"eq.{template}"}
    shop.user.http.patch("/message_templates", params=params, json={"body": "Bye {name}"}).raise_for_status()
    third = shop.rehearse(campaign)
    assert third["lines_id"] != second["lines_id"]
    assert shop.lines(campaign)[0]["text"] == "Bye Name 0"
    await rehearsed()

    # Contacts change without a word: after a minute they are asked again.
    with shop.unguarded():
        shop.db.execute("update campaign_rehearsals set requested_at = requested_at - interval '61 seconds'")
    shop.db.execute("update contacts set contact_name = 'Asha'")
    assert shop.rehearse(campaign)["lines_id"] != third["lines_id"]
    assert shop.lines(campaign)[0]["text"] == "Bye Asha"


async def test_a_campaign_that_changes_meanwhile_is_rehearsed_as_it_is_then(shop, rehearsed):
    shop.contacts(3)
    campaign = shop.campaign(**DRAFT)
    shop.rehearse(campaign)
    shop.set(campaign, message="Good day {name}")

    await rehearsed()

    assert shop.rehearsal(campaign)["revision"] == shop.seen(campaign)["revision"]
    assert [line["text"] for line in shop.lines(campaign)] == [f"Good day Name {n}" for n in range(3)]


async def test_who_leaves_the_audience_meanwhile_is_in_no_line(shop, rehearsed):
    shop.contacts(5)
    campaign = shop.campaign(**DRAFT)
    shop.rehearse(campaign)
    shop.db.execute("delete from contacts where contact_name in ('Name 3', 'Name 4')")

    await rehearsed()

    assert len(shop.lines(campaign)) == shop.rehearsal(campaign)["total"] == 3


def test_an_audience_that_is_none_is_refused_with_words(shop):
    campaign = shop.campaign(**DRAFT, audience={})
    answer = shop.user.http.post("/campaign_rehearsals", json={"campaign_id": campaign["id"]})
    assert (answer.status_code, "Say who is to get it" in answer.json()["message"]) == (400, True)


async def test_another_tenants_rehearsal_is_like_none(shop, other_shop, rehearsed):
    shop.contacts(2)
    campaign = shop.campaign(**DRAFT)
    shop.rehearse(campaign)
    await rehearsed()
    http = other_shop.user.http

    words = set()
    for asked in (campaign["id"], "6d2f5c0e-8a41-4f0b-9f6e-2b7f0c1f4d55"):
        answer = http.post("/campaign_rehearsals", json={"campaign_id": asked})
        words.add((answer.status_code, answer.json()["message"]))
    assert words == {(403, "There is no such connection of yours.")}
    assert http.get("/campaign_rehearsals").json() == http.get("/campaign_rehearsal_lines").json() == []
    assert other_shop.lines(campaign) == []
    assert http.post("/rpc/estimate_campaign", json={"id": campaign["id"]}).json() == []
    before = shop.rehearsal(campaign)
    http.patch("/campaign_rehearsals", params={"campaign_id": f"eq.{campaign['id']}"}, json={"total": 7})
    http.delete("/campaign_rehearsals", params={"campaign_id": f"eq.{campaign['id']}"})
    assert shop.rehearsal(campaign) == before


def test_whoever_is_given_a_connection_rehearses_nothing_older(shop, other_shop):
    shop.contacts(1)
    campaign = shop.campaign(**DRAFT)
    shop.db.execute("update connections set user_id = %s where id = %s", (other_shop.user.id, shop.connection))

    for one in (shop, other_shop):
        answer = one.user.http.post("/campaign_rehearsals", json={"campaign_id": campaign["id"]})
        assert (answer.status_code, answer.json()["message"]) == (403, "There is no such connection of yours.")


async def test_what_a_user_writes_into_a_rehearsal_is_left_out(shop, rehearsed):
    shop.contacts(2)
    campaign = shop.campaign(**DRAFT)
    shop.rehearse(campaign)
    await rehearsed()
    head = shop.rehearsal(campaign)

    forged = {"total": 7, "will_be_sent": 7, "finished_at": None, "requested_at": "2020-01-01T00:00:00Z", "parts": []}
    answer = shop.user.http.patch(
        "/campaign_rehearsals", params={"campaign_id": f"eq.{campaign['id']}"}, json=forged,
    )  # fmt: skip
    answer.raise_for_status()

    assert shop.rehearsal(campaign) == head
    line = {"lines_id": head["lines_id"], "position": 9}
    assert shop.user.http.post("/campaign_rehearsal_lines", json=line).status_code == 403
