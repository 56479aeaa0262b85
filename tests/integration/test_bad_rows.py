"""A row that can never be sent fails with advice to its author; the others go on."""

import pytest
from psycopg import sql

from tests.helpers.rows import add_connections, message, one, schedule

TEXT = "A confidential text"
OVERCOME = ("scheduled_messages_type_known", "scheduled_messages_pattern_shape")
WHOLE_NUMBER = "+99987654321012"
# What is wrong with a row, and words that its author must read.
BAD = {
    "no such contact": ({"contact_id": "77"}, "pick a contact"),
    "a name for a number": ({"contact_id": "Asha"}, "pick a contact or write the number"),
    "too few digits": ({"contact_id": "+1234"}, "too few or too many digits"),
    "no country": ({"contact_id": WHOLE_NUMBER}, "country code"),
    "no WhatsApp id": ({"contact_id": "asha@example.com"}, "WhatsApp id"),
    "no text": ({"message": "  "}, "text"),
    "media without a file": ({"type": "image", "media_url": None}, "media"),
    "a link that is none": ({"type": "image", "media_url": "file:///etc/passwd"}, "http"),
    "a rule for every second": ({"is_recurring": True, "recurrence_pattern": "FREQ=SECONDLY"}, "must be one of DAILY"),
    "a template with infinity": (
        {"type": "template", "media": '{"name": "n", "language": "en", "components": [{"value": 1e400}]}'},
        "cannot be sent",
    ),
    "a language of half a character": (
        {"type": "template", "media": r'{"name": "n", "language": {"code": "\ud800"}}'},
        "cannot be sent",
    ),
    "a caption of half a character": (
        {"type": "image", "media": r'{"url": "https://example.com/a.png", "caption": "\udfff"}'},
        "cannot be sent",
    ),
    "a connection that is gone": ({"connection_id": "gone"}, "connection"),
}


async def test_each_bad_row_fails_with_advice_and_the_good_ones_between_them_are_sent(db, parts):
    add_connections(db, "shop")
    rows = {}
    for name, (columns, _) in BAD.items():
        rows[name] = schedule(db, **{"message": TEXT, **columns})
        schedule(db, message="Good")
    daemon = await parts()

    await daemon.scheduler.poll()
    await daemon.dispatcher.send_all()

    assert one(db, "select count(*) from scheduled_messages where message = 'Good' and status = 'sent'") == len(BAD)
    for name, (_, advice) in BAD.items():
        row = message(db, rows[name])
        assert row["status"] == "failed", name
        assert advice in row["error"], name
        assert TEXT not in row["error"]
        assert WHOLE_NUMBER not in row["error"], name


@pytest.fixture
def old_rows(db):
    """Rows of a project from before our constraints, each with words that its author must read.

    The constraints came later, `not valid`: they bind every later write.
    """
    add_connections(db, "shop")
    read = "select pg_get_constraintdef(oid) from pg_constraint where conname = %s"
    about = "select obj_description(oid, 'pg_constraint') from pg_constraint where conname = %s"
    checks = {name: one(db, read, name).removesuffix(" NOT VALID") for name in OVERCOME}
    words = {name: one(db, about, name) for name in OVERCOME}
    for name in checks:
        db.execute(f"alter table scheduled_messages drop constraint {name}")
    db.execute("alter table scheduled_messages disable trigger name_timezone")
    recurring = {"is_recurring": True, "recurrence_pattern": "daily"}
    rows = {
        schedule(db, timezone="Mars/Olympus", **recurring): "no such time zone: 'Mars/Olympus'",
        schedule(db, timezone="IST", **recurring): "did you mean Europe/Dublin, Asia/Jerusalem, Asia/Kolkata?",
        schedule(db, type="banana"): "banana",
        schedule(db, is_recurring=True, recurrence_pattern="every blue moon"): "unknown recurrence pattern",
    }
    db.execute("alter table scheduled_messages enable trigger name_timezone")
    for name, definition in checks.items():
        db.execute(f"alter table scheduled_messages add constraint {name} {definition} not valid")
    yield rows
    db.execute("truncate scheduled_messages cascade")
    for name in checks:
        db.execute(f"alter table scheduled_messages validate constraint {name}")
        db.execute(
            sql.SQL("comment on constraint {} on scheduled_messages is {}").format(sql.Identifier(name), words[name])
        )


async def test_a_row_from_before_our_constraints_fails_with_advice_too(db, parts, old_rows):
    good = schedule(db)
    daemon = await parts()

    await daemon.scheduler.poll()
    await daemon.dispatcher.send_all()

    assert message(db, good)["status"] == "sent"
    for row, advice in old_rows.items():
        assert message(db, row)["status"] == "failed"
        assert advice in message(db, row)["error"]
