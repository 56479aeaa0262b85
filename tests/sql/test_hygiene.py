"""What security advisors look for: Supabase's own, and again by hand where they do not look."""

import json
import re

import pytest

from local.api import ROOT
from tests.helpers.rows import one
from tests.sql.supabase_cli import supabase
from worker.store.store import DELIVERY, PLANNED_ROW, TOLD_ROW

OURS = "pronamespace in ('public'::regnamespace, 'private'::regnamespace)"


def names(db, sql: str) -> list[str]:
    """The first column."""
    return [str(next(iter(row.values()))) for row in db.execute(sql)]


@pytest.fixture(scope="module")
def advice(stack: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, str]]:
    """What `supabase db advisors` finds."""
    done = supabase(
        "db", "advisors", f"--remote={stack['DATABASE_URL']}?sslmode=disable",
        "--type", "all", "--level", "info", "--output-format", "json",
        directory=tmp_path_factory.mktemp("advisors"),
    )  # fmt: skip
    return json.loads(done.stdout)["results"]


def test_supabases_advisors_find_no_error_and_nothing_to_warn_of(db, advice):
    # Members' policies stand beside an application's own, which are not ours to change.
    meant = re.compile(r"multiple_permissive_policies: .*_member_policy")
    found = [f"{one['name']}: {one['detail']}" for one in advice if one["level"] != "INFO"]
    assert [one for one in found if not meant.match(one)] == []


def test_what_the_advisors_merely_mention_is_meant(db, advice):
    """Tables without a policy are the daemon's alone; indexes are unused in an empty database."""
    assert {one["name"] for one in advice} <= {
        "rls_enabled_no_policy", "unused_index", "multiple_permissive_policies",
    }  # fmt: skip
    closed = {one["detail"].split("`")[1] for one in advice if one["name"] == "rls_enabled_no_policy"}
    assert closed == {
        "private.approved_templates",
        "private.connection_owners",
        "private.connection_state",
        "private.date_words",
        "private.ended_rehearsals",
        "private.erasures",
        "private.gateways",
        "private.judged_numbers",
        "private.limits",
        "private.numbers_asked",
        "private.owner_load",
        "private.recipient_state",
        "private.refused_rows",
        "private.rehearsal_turns",
        "private.rule_numbers",
        "private.run_tallies",
        "private.template_accounts",
        "private.template_versions",
        "private.timezones",
        "public.broadcast_jobs",
        "public.broadcast_messages",
    }


def test_every_function_has_a_search_path_of_its_own(db):
    assert (
        names(
            db, f"select proname from pg_proc where {OURS} and coalesce(proconfig::text, '') not like '%search_path=%'"
        )
        == []
    )


def test_no_function_that_the_api_shows_runs_as_its_owner(db):
    assert names(db, "select proname from pg_proc where pronamespace = 'public'::regnamespace and prosecdef") == []


def test_no_function_of_ours_is_for_everybody(db):
    sql = f"""
        select proname from pg_proc where {OURS}
        and (has_function_privilege('anon', oid, 'execute') or 0 in (select grantee from aclexplode(proacl)))
    """
    assert names(db, sql) == []


def test_what_runs_as_its_owner_can_only_be_fired_as_a_trigger(db):
    """A trigger fires without a privilege on its function, so nobody needs one.

    One may be called, by the service key: it takes nothing, changes nothing, and tells no query. Another is what
    policies ask: it takes nothing, and tells nobody's memberships but the caller's own. Three are reached by users, who
    cannot name them, through connection_usage, estimate_campaign and approved_templates (sql/README.md).
    """
    sql = f"""
        select proname from pg_proc where {OURS} and prosecdef and (
            prorettype <> 'trigger'::regtype
            or has_function_privilege('authenticated', oid, 'execute')
            or has_function_privilege('service_role', oid, 'execute')
        )
    """
    assert sorted(names(db, sql)) == ["approved_for", "estimate_of", "get_holders", "my_connections", "usage_of"]
    for ours, theirs in (
        ("usage_of(text)", "connection_usage(text)"),
        ("estimate_of(uuid)", "estimate_campaign(uuid)"),
        ("approved_for(text[])", "approved_templates(text)"),
    ):
        [found] = db.execute(f"""
            select p.provolatile, c.prosqlbody is not null as is_bound, c.prosecdef
            from pg_proc as p, pg_proc as c
            where p.oid = 'private.{ours}'::regprocedure and c.oid = 'public.{theirs}'::regprocedure
        """)
        assert (found["provolatile"], found["is_bound"], found["prosecdef"]) == ("s", True, False)
    [holders] = db.execute("""
        select proargnames, pronargs, provolatile, has_function_privilege('authenticated', oid, 'execute') as is_open
        from pg_proc where oid = 'private.get_holders()'::regprocedure
    """)
    assert (holders["pronargs"], holders["provolatile"], holders["is_open"]) == (0, "s", False)
    assert "query" not in " ".join(holders["proargnames"])


def test_what_users_reach_in_private_is_bound_when_it_is_made(db):
    """They have no way into that schema: a body that is read when it runs fails there, in each new session anew."""
    sql = """
        select proname from pg_proc where pronamespace = 'private'::regnamespace
            and has_function_privilege('authenticated', oid, 'execute')
            and not prosecdef and prosqlbody is null and prosrc ~ 'private[.]'
    """
    assert names(db, sql) == []


def test_no_function_takes_more_than_ten_arguments(db):
    assert names(db, f"select proname from pg_proc where {OURS} and pronargs > 10") == []


@pytest.mark.parametrize(
    ("type_name", "told", "the_databases_own"),
    [
        ("planned_row", PLANNED_ROW, {"soon", "stage", "series_ends"}),
        ("told_row", (*TOLD_ROW, "age"), {"told_at", "quietly"}),
        ("delivery", DELIVERY, set()),
    ],
)
def test_the_database_knows_every_field_that_it_is_told(db, type_name, told, the_databases_own):
    """It passes over a name that it does not know."""
    fields = names(db, f"select attname from pg_attribute where attrelid = 'private.{type_name}'::regclass")

    assert set(fields) == {*told} | the_databases_own


def test_nothing_that_the_daemon_calls_waits_for_a_lock_for_longer_than_it_says(db):
    calls = [path.read_text() for path in (ROOT / "worker" / "store").glob("*.py")]
    called = set(re.findall(r'"([a-z_]+)"', "".join(calls)))
    sql = """
        select proname,
            (select split_part(c, '=', 2) from unnest(proconfig) as c where c like 'lock_timeout=%') as waits
        from pg_proc where pronamespace = 'public'::regnamespace
    """
    waits = {row["proname"]: row["waits"] for row in db.execute(sql) if row["proname"] in called}

    assert {"record_outcomes", "get_agenda", "finish_probes", "take_withdrawn_jobs", "diagnose"} <= set(waits)
    assert {"advance_campaign_run", "take_rehearsal", "record_template_statuses", "get_numbers_asked"} <= set(waits)
    assert {name: wait for name, wait in waits.items() if wait not in ("20ms", "250ms", "2s")} == {}


def test_users_have_no_way_into_the_private_schema(db):
    for role in ("anon", "authenticated"):
        assert not one(db, f"select has_schema_privilege('{role}', 'private', 'usage, create')")
        sql = f"""
            select relname from pg_class where relnamespace = 'private'::regnamespace and relkind in ('r', 'v')
            and has_table_privilege('{role}', oid, 'select, insert, update, delete, truncate')
        """
        assert names(db, sql) == []


def test_row_level_security_is_on_for_every_table(db):
    sql = """
        select relname from pg_class
        where relnamespace in ('public'::regnamespace, 'private'::regnamespace) and relkind in ('r', 'p')
            and not relrowsecurity
    """
    assert names(db, sql) == []


def test_every_policy_is_for_signed_in_users_and_asks_once_who_they_are(db):
    """`(select auth.uid())` is asked once a statement, `auth.uid()` once a row."""
    sql = """
        select policyname || ': ' || concat_ws(' ', roles, qual, with_check)
        from pg_policies where schemaname in ('public', 'private')
    """
    policies = names(db, sql)

    assert len(policies) == 25
    for policy in policies:
        assert "{authenticated}" in policy
        bare = re.sub(r"\( SELECT auth\.uid\(\) AS uid\)", "", policy)
        assert "auth.uid()" not in bare, policy


def test_no_foreign_key_deletes_messages_or_holds_up_a_deletion(db):
    sql = """
        select conname || ' ' || confdeltype::text from pg_constraint
        where contype = 'f' and conrelid = 'scheduled_messages'::regclass
    """

    assert names(db, sql) == ["scheduled_messages_created_by_fkey n"]


def test_every_column_that_a_policy_or_a_foreign_key_looks_up_leads_an_index(db):
    leading = names(
        db,
        """
        select distinct a.attname from pg_index as i
        join pg_attribute as a on a.attrelid = i.indrelid and a.attnum = i.indkey[0]
        where i.indrelid = 'scheduled_messages'::regclass and i.indpred is null
        """,
    )

    assert {"id", "created_by", "owner_id", "connection_id", "contact_id"} <= set(leading)


def test_every_file_of_sql_says_what_it_locks():
    """Each statement on a table that was there before says so in its file's first comment."""
    for path in sorted((ROOT / "sql").glob("2*.sql")):
        text = path.read_text()
        touches = re.search(
            r"^(alter table public|create .*trigger|create .*index concurrently|alter publi)", text, re.M
        )
        comment = text[: text.index("\n\n")] if "\n\n" in text else text
        assert not touches or "Locks:" in comment, path.name


IN_ORDER = ("auth.users", "public.connections", "public.scheduled_messages", "public.broadcast_jobs",
            "public.broadcast_messages")  # fmt: skip
LOCKS = re.compile(
    r"(?:^ *lock table|^ *alter table|^ *create (?:or replace )?trigger [^;]*?\bon) ((?:public|auth)\.\w+)", re.M
)


@pytest.mark.parametrize("path", sorted((ROOT / "sql").glob("2*.sql")), ids=lambda path: path.stem)
def test_a_file_comes_to_the_tables_in_the_order_of_those_who_write_them(path):
    """Else a migration and a writer wait for each other: who deletes a connection comes to its messages next."""
    first = list(dict.fromkeys(table for table in LOCKS.findall(path.read_text()) if table in IN_ORDER))
    assert first == sorted(first, key=IN_ORDER.index)
