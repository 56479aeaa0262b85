"""Which zones may be written, where, and in whose words they are refused."""

import psycopg
import pytest

from tests.helpers.rows import add_connections, message, one, schedule

RECURRING = {"is_recurring": True, "recurrence_pattern": "daily"}
FORGIVEN = {
    "asia/kolkata": "Asia/Kolkata", " Asia/Kolkata ": "Asia/Kolkata", "\u00a0Asia/Kolkata\u200b": "Asia/Kolkata",
    "america/new york": "America/New_York", "asia/calcutta": "Asia/Calcutta", "utc": "UTC", "EST5EDT": "EST5EDT",
    "Etc/GMT+5": "Etc/GMT+5", "": None, "  ": None,
}  # fmt: skip
REFUSED = {
    "IST": "Asia/Kolkata", "ist": "Asia/Kolkata", "UTC+5:30": "Asia/Kolkata", "+05:30": "Asia/Kolkata",
    "Asia/Kolkatta": "Asia/Kolkata", "Kolkata": "Asia/Kolkata", "PDT": "America/Los_Angeles",
    "PST": "America/Los_Angeles",
    "foo5": "Write a name such as Asia/Kolkata", "Etc/Unknown": "such as", "undefined": "such as", "EST5EDT4": "",
    "GMT+5": "Asia/Almaty", "Mars/Olympus": "", "posixrules": "", "posix/UTC": "", "localtime": "", "Factory": "",
    "../etc/passwd": "", "<+03>-3": "", "'; drop table x": "", "(a**": "", "Europe/": "",
}  # fmt: skip


@pytest.fixture
def shop(db):
    add_connections(db, "shop")


@pytest.mark.parametrize(("written", "name"), FORGIVEN.items())
def test_spelling_case_and_blanks_are_forgiven_where_a_message_recurs(db, shop, written, name):
    row = schedule(db, timezone=written, **RECURRING)
    assert message(db, row)["timezone"] == name
    db.execute("insert into connection_settings (connection_id, timezone) values ('shop', %s)", (written,))
    assert one(db, "select timezone from connection_settings") == name


@pytest.mark.parametrize(("written", "hint"), REFUSED.items())
def test_what_is_no_zone_is_refused_where_it_is_written(db, tenants, shop, written, hint):
    mine = tenants[0]
    row = {"contact_id": "1", "message": "Hello", "scheduled_at": "2030-01-01", "connection_id": mine.connection_id}

    answer = mine.http.post("/scheduled_messages", json={**row, **RECURRING, "timezone": written})

    assert answer.status_code == 400
    assert answer.json()["message"].startswith("There is no time zone '")
    assert hint in answer.json()["message"]
    with pytest.raises(psycopg.Error, match="There is no time zone"):
        db.execute("insert into connection_settings (connection_id, timezone) values ('shop', %s)", (written,))
    with pytest.raises(psycopg.Error, match="There is no time zone"):
        schedule(db, timezone=written, **RECURRING)
    assert one(db, "select count(*) from scheduled_messages") == 0


@pytest.mark.parametrize("written", ["Etc/Unknown", "undefined", "", "IST", "+05:30", "asia/kolkata", "Mars/Olympus"])
def test_what_goes_out_once_needs_no_zone(db, tenants, written):
    mine = tenants[0]
    row = mine.insert(
        contact_id="1", message="Hello", scheduled_at="2030-01-01", connection_id=mine.connection_id, timezone=written
    )
    assert row["timezone"] == written


def test_an_edit_that_makes_a_message_recur_is_judged(db, tenants):
    mine = tenants[0]
    row = mine.insert(
        contact_id="1", message="Hello", scheduled_at="2030-01-01", connection_id=mine.connection_id, timezone="IST"
    )
    answer = mine.http.patch("/scheduled_messages", params={"id": f"eq.{row['id']}"}, json=RECURRING)
    assert answer.status_code == 400
    assert "Asia/Kolkata" in answer.json()["message"]
    assert mine.update(row["id"], **RECURRING, timezone="asia/kolkata")["timezone"] == "Asia/Kolkata"


def test_the_next_occurrence_of_a_series_keeps_the_zone_that_the_daemon_gave_it(db, shop):
    """Its data may be newer than the server's."""
    series = {"series_anchor": "2030-01-01 09:00", "occurrence_at": "2030-01-01 09:00Z"}
    row = one(db, "select gen_random_uuid()")
    kept = schedule(db, timezone="America/Newest", series_id=row, **series, **RECURRING)
    assert message(db, kept)["timezone"] == "America/Newest"


def test_a_zone_is_looked_up_in_the_servers_files_once(db, shop):
    assert one(db, "select count(*) from private.timezones") == 0
    for _ in range(3):
        schedule(db, timezone="asia/kolkata", **RECURRING)
    rows = db.execute("select folded, name from private.timezones").fetchall()
    assert rows == [{"folded": "asia/kolkata", "name": "Asia/Kolkata"}]


def test_the_zones_in_use_are_told_with_their_offsets(db, shop):
    schedule(db, timezone="Asia/Kolkata", **RECURRING)
    schedule(db, timezone="Asia/Kathmandu")
    db.execute("insert into connection_settings (connection_id, timezone) values ('shop', 'Europe/Berlin')")
    rows = {row["name"]: row for row in db.execute("select * from get_timezones('UTC', 60)").fetchall()}
    assert {name: (row["messages"], row["connections"]) for name, row in rows.items()} == {
        "Asia/Kolkata": (1, 0), "Europe/Berlin": (0, 1), "UTC": (0, 0),
    }  # fmt: skip
    assert {name: sorted(set(row["offsets"])) for name, row in rows.items()} == {
        "Asia/Kolkata": [330], "Europe/Berlin": [60, 120], "UTC": [0],
    }  # fmt: skip
    assert len(rows["UTC"]["offsets"]) == 61
