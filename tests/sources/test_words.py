"""What the sources' tables refuse, a person is told in words; and everything that is ours bears its mark."""

import pytest

from tests.helpers.rows import one
from tests.sources.conftest import SHOWN, soon

WRITTEN = (
    "appointments", "campaigns", "connection_invitations", "connection_members", "connection_settings",
    "message_templates", "reminder_rules",
)  # fmt: skip
APPLICATIONS = ("connections", "contacts", "scheduled_messages")
NOBODY = "00000000-0000-0000-0000-000000000000"


def test_every_check_of_a_table_that_users_write_says_in_words_what_it_wants(db):
    sql = """
        select conname from pg_constraint where contype in ('c', 'f') and obj_description(oid, 'pg_constraint') is null
            and conrelid = any(array(select to_regclass('public.' || name) from unnest(%s::text[]) as name))
    """
    assert [row["conname"] for row in db.execute(sql, (list(WRITTEN),))] == []


@pytest.mark.parametrize(
    ("table", "columns", "words"),
    [
        ("campaigns", {"name": " "}, "A campaign needs a name of at most 200 characters."),
        ("campaigns", {"name": None}, "The name is missing."),
        ("campaigns", {"type": "carrier pigeon"}, "A campaign sends a text, an image"),
        ("campaigns", {"stop_at_failures": 30}, "The share of failures that stops a campaign lies between 0 and 1."),
        ("campaigns", {"give_up_after": "1 year"}, "A campaign gives up after a minute at the earliest"),
        ("campaigns", {"template_id": NOBODY}, "There is no such template of yours."),
        ("campaigns", {"variables": [1]}, "The variables are an object"),
        ("campaigns", {"message": "x" * 9000}, "The message, or a part of it, is too long."),
        ("campaigns", {"is_recurring": True}, "A recurring campaign needs a recurrence pattern"),
        ("message_templates", {"body": " "}, "A template needs a text, or a link to its file."),
        ("message_templates", {"category": "spam"}, "A template is marketing or utility."),
        ("message_templates", {"language": "English"}, "The language of a template is a code"),
        ("connection_settings", {"approval": "everything"}, "campaigns wait for another admin's approval"),
        ("connection_settings", {"country_code": "India"}, "two capital letters, such as IN"),
        ("connection_settings", {"window_start": "09:00"}, "both a beginning and an end"),
        ("connection_members", {"role": "boss", "user_id": NOBODY}, "A member is admin or staff."),
        ("connection_members", {"role": "staff", "user_id": NOBODY}, "There is no such user."),
        ("appointments", {"status": "late"}, "An appointment is booked, visited, cancelled or no_show."),
        ("appointments", {"date": None}, "The date is missing."),
        ("appointments", {"date": "1066-10-14"}, "The dates must lie between the years 2000 and 2199."),
        ("reminder_rules", {"anchor": "moon"}, "A rule goes by booked, date or followup_date."),
        ("reminder_rules", {"template_id": NOBODY}, "There is no such template of yours."),
    ],
)  # fmt: skip
def test_a_person_is_told_in_words(shop, table, columns, words):
    template = shop.template("Hello", connection_id=shop.connection) if table == "reminder_rules" else None
    rows = {
        "campaigns": {"name": "x", "message": "Hello", "scheduled_at": soon(), "owner_id": shop.user.id},
        "message_templates": {"name": "x", "body": "Hello", "owner_id": shop.user.id},
        "connection_settings": {},
        "connection_members": {"owner_id": shop.user.id},
        "appointments": {"date": "2030-01-01", "time": "10:00", "owner_id": shop.user.id},
        "reminder_rules": {"owner_id": shop.user.id, "name": "x", "anchor": "date", "template_id": template},
    }
    row = {"connection_id": shop.connection} | rows[table] | columns

    answer = shop.user.http.post(f"/{table}", json=row, headers=SHOWN)

    assert answer.status_code == 400, answer.text
    assert words in answer.json()["message"]


def test_each_table_and_column_of_ours_bears_the_mark(db):
    sql = """
        select format('%%s %%s', c.oid::regclass, a.attname) as name
        from pg_class as c
        left join pg_attribute as a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
        where c.relkind in ('r', 'v') and not (c.relnamespace = 'public'::regnamespace and c.relname = any(%s))
            and c.relnamespace in ('public'::regnamespace, 'private'::regnamespace)
            and not (coalesce(obj_description(c.oid, 'pg_class'), '') like 'scheduled messages:%%'
                and coalesce(col_description(c.oid, a.attnum), '') like 'scheduled messages:%%')
    """
    assert [row["name"] for row in db.execute(sql, (list(APPLICATIONS),))] == []
    marked = one(db, """
        select array_agg(attname::text) from pg_attribute where attrelid = 'scheduled_messages'::regclass
        and starts_with(col_description(attrelid, attnum), 'scheduled messages:')
    """)  # fmt: skip
    assert {"category", "priority", "held", "source_id", "due_at", "revision"} <= set(marked)
    assert not {"id", "message", "status", "scheduled_at", "created_by"} & set(marked)


def test_pages_hear_of_campaigns_runs_and_appointments(db):
    sql = "select tablename from pg_publication_tables where pubname = 'supabase_realtime'"
    assert {"campaigns", "campaign_runs", "appointments"} <= {row["tablename"] for row in db.execute(sql)}
