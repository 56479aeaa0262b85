"""Numbers and files as people really write them, from the row that a user wrote to the request that a gateway got."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.delivery.cloud_stub import CloudStub
from tests.delivery.test_recipients import NewUser, add_contact, write
from tests.helpers.counting_gateway import CountingGateway
from tests.helpers.rows import Database, message

Pass = Callable[..., Awaitable[None]]

PASTED = {
    "\u202a+91 98765 43210\u202c": "919876543210",
    "\u2068+91\u00a098765\u201143210\u2069\ufe0f": "919876543210",
    "＋９１ ９８７６５－４３２１０": "919876543210",
    "+٩١٩٨٧٦٥٤٣٢١٠": "919876543210",
    "+9️⃣1️⃣9️⃣8️⃣7️⃣6️⃣5️⃣43210": "919876543210",
    "+52 1 55 1234 5678": "525512345678",
    "5215512345678": "525512345678",
    "+52 044 55 1234 5678": "525512345678",
    "+54 11 15 1234-5678": "5491112345678",
}


async def test_numbers_reach_whom_their_authors_meant(
    db: Database, user: NewUser, waha: CountingGateway, by_waha: Pass
) -> None:
    owner = user()
    rows = {written: write(owner, written, message=digits) for written, digits in PASTED.items()}
    contacts = [write(owner, add_contact(owner, w[:20]), message=PASTED[w]) for w in PASTED if len(w) <= 20]
    await by_waha()
    for written, row in rows.items():
        assert message(db, row)["status"] == "sent", (written, message(db, row)["error"])
    assert {message(db, row)["status"] for row in contacts} == {"sent"}
    assert {(one.chat_id, one.text) for one in waha.received} == {(f"{d}@c.us", d) for d in PASTED.values()}


async def test_waha_is_asked_once_for_a_number_and_its_answer_is_written_to(
    db: Database, user: NewUser, waha: CountingGateway, by_waha: Pass
) -> None:
    owner = user()
    waha.chats = {
        "5531987654321": "553187654321@c.us",
        "919876543210": "",
        "541112345678": "",
        "5491112345678": "5491112345678@c.us",
    }
    brazil = [write(owner, "+55 31 98765-4321") for _ in range(3)]
    nobody, argentina = write(owner, "+91 98765 43210"), write(owner, "+54 11 1234-5678")
    await by_waha()
    assert {message(db, row)["status"] for row in (*brazil, argentina)} == {"sent"}
    assert waha.counts == {"553187654321@c.us": 3, "5491112345678@c.us": 1}
    assert sorted(waha.looked_up) == ["541112345678", "5491112345678", "5531987654321", "919876543210"]
    after = message(db, nobody)
    assert after["status"] == "failed"
    assert after["error"].startswith("WAHA says that no WhatsApp account has this number: check it")


async def test_a_setting_stops_the_asking(db: Database, user: NewUser, waha: CountingGateway, by_waha: Pass) -> None:
    waha.chats = {"5531987654321": "553187654321@c.us"}
    write(user(), "+55 31 98765-4321")
    await by_waha(waha_check_numbers=False)
    assert (waha.looked_up, waha.counts) == ([], {"5531987654321@c.us": 1})


async def test_a_business_scoped_user_id_goes_out_through_the_cloud_api_alone(
    db: Database, user: NewUser, waha: CountingGateway, cloud: CloudStub, by_waha: Pass, by_cloud: Pass
) -> None:
    owner = user()
    row = write(owner, "BR.1502576394655843")
    known = write(owner, add_contact(owner, "IN.ENT.1181579921288"))
    await by_cloud()
    assert {message(db, r)["status"] for r in (row, known)} == {"sent"}
    written_to = {(body.get("recipient"), body.get("to")) for _, body in cloud.received}
    assert written_to == {("BR.1502576394655843", None), ("IN.ENT.1181579921288", None)}
    elsewhere = write(owner, "BR.1502576394655843")
    await by_waha()
    assert (message(db, elsewhere)["status"], waha.received) == ("failed", [])
    assert "only the WhatsApp Cloud API can write to" in message(db, elsewhere)["error"]


@pytest.mark.parametrize(
    ("columns", "error"),
    [
        ({"contact_id": "+91 98765 4321\u041e"}, "take out U+041E (cyrillic capital letter o)"),
        ({"contact_id": "+91 98765"}, "5 after +91, where numbers have"),
        ({"message": "\u200b\u2060"}, "The message is empty"),
        ({"message": "x" * 4097}, "The text has 4097 characters; the WhatsApp Cloud API takes 4096"),
        ({"type": "gif", "media_url": "https://e.com/a.gif"}, "convert it to an MP4 video, or send it as a document"),
        ({"type": "image", "media_url": "https://e.com/a.webp"}, "WhatsApp takes JPEG and PNG pictures"),
        ({"type": "media", "media_url": "https://e.com/a.MOV?x=1"}, "WhatsApp plays MP4 and 3GP videos"),
        ({"type": "audio", "media": {"url": "https://e.com/a", "mimetype": "audio/x-wav"}}, "WhatsApp plays MP3"),
    ],
)  # fmt: skip
async def test_what_can_never_arrive_fails_with_advice(
    columns: dict[str, Any], error: str, db: Database, user: NewUser, cloud: CloudStub, by_cloud: Pass
) -> None:
    row = write(user(), **{"contact_id": "+919876543210", **columns})
    await by_cloud()
    assert (message(db, row)["status"], cloud.received) == ("failed", [])
    assert error in message(db, row)["error"]


async def test_files_get_names_and_types_that_open(
    db: Database, user: NewUser, cloud: CloudStub, by_cloud: Pass
) -> None:
    owner = user()
    given = {
        "file.pdf": {"url": "https://e.com/d/12345", "mimetype": "application/pdf"},
        "Report.pdf": {"url": "https://e.com/d/12345", "mimetype": "application/pdf", "filename": "Report"},
        "R.PDF": {"url": "https://e.com/R.PDF?token=a.jpg"},
        "passwd.txt": {"url": "https://e.com/d", "filename": "../../etc/passwd.txt"},
        "März.docx": {"url": "https://e.com/M%C3%A4rz.docx", "mimetype": "application/zip"},
    }
    rows = [write(owner, f"+91987654321{n}", type="document", media=media) for n, media in enumerate(given.values())]
    await by_cloud()
    assert {message(db, row)["status"] for row in rows} == {"sent"}
    assert {body["document"]["filename"] for _, body in cloud.received} == set(given)


async def test_a_long_text_goes_out_where_whatsapp_takes_it(
    db: Database, user: NewUser, waha: CountingGateway, by_waha: Pass
) -> None:
    row = write(user(), "+919876543210", message="x" * 8192)
    await by_waha()
    assert message(db, row)["status"] == "sent"
    assert len(waha.received[0].text) == 8192


@pytest.mark.parametrize(
    "url",
    ["https://localhost/a.png", "https://１２７.0.0.1/a.png", "https://127。0。0。1/a.png", "https://router/a.png"],
)
async def test_a_link_into_our_network_is_not_handed_to_a_gateway_in_it(
    url: str, db: Database, user: NewUser, waha: CountingGateway, by_waha: Pass
) -> None:
    row = write(user(), "+919876543210", type="image", media_url=url)
    await by_waha()
    assert (message(db, row)["status"], waha.received) == ("failed", [])
    assert "points into a private network" in message(db, row)["error"]


async def test_a_name_that_leads_into_our_network_is_judged_by_where_it_leads(
    db: Database, user: NewUser, waha: CountingGateway, by_waha: Pass, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def look_up(_: object, host: str) -> list[str]:
        return {"innocent.example": ["10.0.0.7"]}.get(host, ["93.184.216.34"])

    monkeypatch.setattr("worker.planning.resolver.SystemNames.look_up", look_up)
    owner = user()
    bad = write(owner, "+919876543210", type="image", media_url="https://innocent.example/a.png")
    good = write(owner, "+919876543211", type="image", media_url="https://e.com/a.png")
    await by_waha()
    assert [message(db, row)["status"] for row in (bad, good)] == ["failed", "sent"]
    assert "points into a private network" in message(db, bad)["error"]
    assert [one.chat_id for one in waha.received] == ["919876543211@c.us"]


ONCE = [
    *(
        {"timezone": zone}
        for zone in ("Etc/Unknown", "undefined", "", "IST", "+05:30", " asia/kolkata ", "Mars/Olympus")
    ),
    *({"recurrence_pattern": pattern} for pattern in ("", "none", "once", "never", "every blue moon")),
    {"is_recurring": None, "recurrence_pattern": "none", "timezone": "undefined"},
]


async def test_what_goes_out_once_needs_no_zone_and_no_pattern(
    db: Database, user: NewUser, waha: CountingGateway, by_waha: Pass
) -> None:
    owner = user()
    rows = [write(owner, f"+9198765432{n:02}", **columns) for n, columns in enumerate(ONCE)]
    await by_waha()
    assert [(message(db, row)["status"], message(db, row)["error"]) for row in rows] == [("sent", None)] * len(ONCE)
    assert len(waha.received) == len(ONCE)


async def test_a_series_repeats_in_the_zone_that_its_author_meant(
    db: Database, user: NewUser, waha: CountingGateway, by_waha: Pass
) -> None:
    recurring = {"is_recurring": True, "recurrence_pattern": "RRULE:FREQ=DAILY;INTERVAL=2;"}
    row = write(user(), "+919876543210", **recurring, timezone=" america/new york")
    await by_waha()
    after = message(db, row)
    assert (after["status"], after["timezone"]) == ("sent", "America/New_York")
    assert message(db, str(after["next_id"]))["timezone"] == "America/New_York"
