"""On each strangers' project a message goes from its insert to `sent`, and one to `unconfirmed` and back; or `migrate`
has refused it before, with a list that leads there when it is followed word by word. The doctor agrees.
"""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit
from uuid import uuid4

import psycopg
import pytest

from tests.helpers import calls
from tests.helpers.process import Worker
from tests.helpers.rows import Database, one
from tests.sql.projects import project
from tests.sql.roles import Roles, another_database, opened, sql_file
from tests.sql.zoo import CONNECTIONS, DOCUMENT, NEXT_BY_ITSELF, ZOO, Animal
from worker.operating import migrate

# All that somebody could notice to have changed.
SHAPE = """
    select string_agg(line, e'\n' order by line) from (
        select concat_ws(' ', 'column', c.oid::regclass, c.relkind, c.relrowsecurity, a.attname,
            format_type(atttypid, atttypmod), attnotnull, attgenerated, pg_get_expr(adbin, adrelid), c.relacl) as line
        from pg_class as c join pg_attribute as a on a.attrelid = c.oid and attnum > 0 and not attisdropped
        left join pg_attrdef as d on d.adrelid = c.oid and d.adnum = a.attnum
        where c.relnamespace::regnamespace::text !~ '^(pg_|information_schema)'
        union all
        select concat_ws(' ', 'constraint', conrelid::regclass, conname, pg_get_constraintdef(oid)) from pg_constraint
        where connamespace::regnamespace::text !~ '^(pg_|information_schema)'
        union all select concat_ws(' ', 'trigger', pg_get_triggerdef(oid)) from pg_trigger
        union all select concat_ws(' ', 'policy', schemaname, tablename, policyname, qual) from pg_policies
        union all select concat_ws(' ', 'function', oid::regprocedure, md5(prosrc)) from pg_proc
        where pronamespace::regnamespace::text !~ '^(pg_|information_schema)'
        union all select concat_ws(' ', 'schema', nspname) from pg_namespace where nspname !~ '^pg_(temp|toast)'
    ) as everything
"""


@pytest.fixture(scope="module")
def template(stack: dict[str, str]) -> Iterator[str]:
    """A database that is a Supabase project and nothing else."""
    with another_database(stack["DATABASE_URL"], "zoo_template") as url:
        with psycopg.connect(url, autocommit=True) as db:
            db.execute(sql_file("platform.sql"))
        yield "zoo_template"


@pytest.fixture
def empty(stack: dict[str, str], template: str) -> Iterator[Roles]:
    with another_database(stack["DATABASE_URL"], "zoo", template) as url, opened(url) as here:
        yield here


@dataclass
class Keeper:
    """What the daemon does, by its calls, with the service key."""

    db: Database
    animal: Animal
    user: str
    connection: str
    contact: str = "+919876500000"

    @contextmanager
    def acting(self, role: str) -> Iterator[Database]:
        with self.db.transaction():
            self.db.execute("select set_config('request.jwt.claim.sub', %s, true)", (self.user,))
            self.db.execute(f"set local role {role}")
            yield self.db
            self.db.execute("reset role")

    def write(self) -> str:
        """As the user does; then its time comes."""
        row = {"connection_id": self.connection, "contact_id": self.contact, "message": "Hello"} | self.animal.columns
        names, places = ", ".join(row), ", ".join(["%s"] * len(row))
        sql = f"insert into scheduled_messages ({names}, scheduled_at) values ({places}, now() + interval '1 hour')"
        with self.acting("authenticated") as db:
            row_id = one(db, f"{sql} returning id::text", *row.values())
        past = """
            update scheduled_messages
            set scheduled_at = now() - interval '1 minute', created_at = now() - interval '1 hour' where id = %s
        """
        self.db.execute(past, (row_id,))
        return str(row_id)

    def claim(self, row_id: str) -> tuple[str, str]:
        """Enqueued and claimed: its job and its token."""
        job, token = str(uuid4()), str(uuid4())
        with self.acting("service_role") as db:
            known = one(db, "select known from look_up_recipients(array[%s::uuid])", row_id) or [{}]
            phone = known[0].get("phone_number")
            assert phone == ("919876543210" if self.animal.contact else None)
            assert row_id in [str(row["id"]) for row in db.execute("select id from get_pending_scheduled_messages()")]
            revision = one(db, "select revision from scheduled_messages where id = %s", row_id)
            who = {"recipient": phone or self.contact, "phone": phone}
            assert calls.enqueue(db, {"id": row_id, "revision": revision, "job_id": job, **who}) == [row_id]
            jobs = one(db, "select jobs from claim_broadcast_jobs(%s, 5, 60)", token) or []
        assert [each["id"] for each in jobs] == [job]
        assert self.status(row_id) == "processing"
        return job, token

    def record(self, job: str, token: str, outcome: str, message_id: str | None, error: str | None) -> None:
        with self.acting("service_role") as db:
            told = {"verdict": outcome, "message_id": message_id, "error": error, "wait": 0}
            recorded = calls.record(db, {"job_id": job, "token": token, **told})
            assert (recorded["fenced_out"], recorded["refused"]) == ([], None)

    def status(self, row_id: str) -> str:
        return str(one(self.db, "select status from scheduled_messages where id = %s", row_id))

    def failures(self) -> list[str]:
        with self.acting("service_role") as db:
            rows = db.execute("select what || ' -> ' || remedy as found from diagnose() where level = 'failure'")
            return [str(row["found"]) for row in rows]


def keeper(here: Roles, animal: Animal) -> Keeper:
    """A user with a connection, and somebody to write to."""
    user = one(here.db, "insert into auth.users (id) values (gen_random_uuid()) returning id::text")
    sql = """
        select format_type(atttypid, null) from pg_attribute
        where attrelid = 'connections'::regclass and attname = 'id'
    """
    ids = {"text": {"id": "shop"}, "uuid": {"id": str(uuid4())}}.get(one(here.db, sql), {})
    given = ids | {"user_id": user, "connected": True, "name": "shop"}
    connection = one(here.db, "select private.make_up('connections', %s) ->> 'id'", json.dumps(given))
    contact = add_contact(here.db, animal, user) or Keeper.contact
    return Keeper(here.db, animal, user, str(connection), contact)


def add_contact(db: Database, animal: Animal, user: str) -> str:
    """Its id; nothing where messages go to numbers."""
    row = db.execute(animal.contact, {"user": user}).fetchone() if animal.contact else None
    return str(row["id"]) if row else ""


def follow(db: Database, told: str) -> None:
    """Does what the list says, word by word."""
    for each in re.split(r"^\d+\. ", told, flags=re.M)[1:]:
        _, _, statements = each.partition("\n")
        db.execute(statements)


@pytest.mark.parametrize("animal", ZOO, ids=lambda animal: animal.name)
def test_a_message_is_sent_and_one_is_rescued_or_the_list_leads_there(empty: Roles, animal: Animal):
    empty.db.execute(animal.sql)

    if animal.refused:
        before = one(empty.db, SHAPE)
        for dry_run in (True, False):
            with pytest.raises(migrate.MigrateRefused) as refused:
                migrate.migrate(empty.url, dry_run)
            for words in animal.refused:
                assert re.search(rf"^\d+\. .*{re.escape(words)}", str(refused.value), re.M), str(refused.value)
            assert f"\n{len(animal.refused) + 1}. " not in str(refused.value)
        assert one(empty.db, SHAPE) == before
        follow(empty.db, str(refused.value))
    assert migrate.migrate(empty.url)

    kept = (
        "select count(*) from scheduled_messages where message = 'Before us' and (due_at is null) = (status = 'sent')"
    )
    assert one(empty.db, kept) == animal.sql.count("'Before us'")
    here = keeper(empty, animal)
    first, second = here.write(), here.write()
    assert here.failures() == []
    here.record(*here.claim(first), "sent", "wamid." + "x" * 100, None)
    assert here.status(first) == "sent"

    job, _ = here.claim(second)
    here.db.execute("update broadcast_jobs set lease_until = now() - interval '1 second' where id = %s", (job,))
    with here.acting("service_role") as db:
        assert one(db, "select rescued from rescue_broadcast_jobs()") == 1
    assert here.status(second) == "unconfirmed"
    with here.acting("service_role") as db:
        assert db.execute("select from resolve_scheduled_message(%s, 'resend')", (second,)).rowcount == 1
    assert here.status(second) == "pending"
    here.record(*here.claim(second), "failed", None, "e" * 1500)
    assert here.status(second) == "failed"


def test_an_own_status_stays_its_own(empty: Roles):
    empty.db.execute(DOCUMENT)
    empty.db.execute("alter table scheduled_messages add check (status in ('draft', 'pending', 'sent'))")
    draft = """
        insert into scheduled_messages (connection_id, contact_id, message, scheduled_at, status)
        values ('a', '1', '', now(), %s)
    """
    empty.db.execute(draft, ("draft",))

    migrate.migrate(empty.url)
    empty.db.execute("update scheduled_messages set message = 'Edited'")

    assert one(empty.db, "select count(*) from scheduled_messages where status = 'draft'") == 1
    with pytest.raises(psycopg.errors.CheckViolation):
        empty.db.execute(draft, ("nonsense",))
    here = keeper(empty, ZOO[0])
    row = here.write()
    with here.acting("authenticated") as db:
        for status in ("draft", "pending", "draft", "cancelled", "draft"):
            assert db.execute("update scheduled_messages set status = %s where id = %s", (status, row)).rowcount == 1
        new = "insert into scheduled_messages (connection_id, contact_id, message, scheduled_at, status)"
        assert db.execute(f"{new} values ('shop', '1', '', now(), 'draft')").rowcount == 1
    assert one(here.db, "select count(*) from scheduled_messages where status = 'draft' and due_at is null") == 3


def test_the_applications_own_broadcasts_keep_their_rules(empty: Roles):
    [rules] = [animal for animal in ZOO if animal.name == "rules for broadcasts"]
    empty.db.execute(rules.sql)
    migrate.migrate(empty.url)

    for sql in (
        "insert into broadcast_jobs (type) values ('text')",  # without its campaign
        "insert into broadcast_jobs (campaign_id, type) values (gen_random_uuid(), 'pigeon')",
        "insert into broadcast_messages (contact, queued_by, status) values ('1', 'me', 'unconfirmed')",
    ):
        with pytest.raises(psycopg.errors.CheckViolation):
            empty.db.execute(sql)
    empty.db.execute("insert into broadcast_jobs (campaign_id, type) values (gen_random_uuid(), 'text')")


def test_all_faults_are_told_in_one_go(empty: Roles):
    wanted = [a for a in ZOO if a.name in ("an enum, with what hangs on it", "not in the past", "times without a zone")]
    empty.db.execute(DOCUMENT + "".join(animal.sql.removeprefix(DOCUMENT) + ";" for animal in wanted))

    with pytest.raises(migrate.MigrateRefused) as refused:
        migrate.migrate(empty.url)

    for animal in wanted:
        for words in animal.refused:
            assert words in str(refused.value)
    follow(empty.db, str(refused.value))
    assert migrate.migrate(empty.url)


EARLIER = """
    create schema supabase_migrations;
    create table supabase_migrations.schema_migrations (version text primary key, statements text[], name text);
    insert into supabase_migrations.schema_migrations (version, name) values
    ('{day}000000', 'private_schema'), ('{day}000001', 'connections_and_contacts'),
    ('{day}000002', 'scheduled_messages');
"""


@pytest.mark.parametrize("day", ["20261122", "20261126"])
def test_an_earlier_state_of_ours_is_refused_in_one_sentence(empty: Roles, day: str):
    empty.db.execute(DOCUMENT + EARLIER.format(day=day))
    before = one(empty.db, SHAPE)

    with pytest.raises(
        migrate.MigrateRefused, match=rf"^This database was made by an earlier state of these files.*{day}"
    ) as refused:
        migrate.migrate(empty.url)

    assert "\n" not in str(refused.value)
    assert one(empty.db, SHAPE) == before


def test_a_role_that_may_not_is_told_all_that_it_needs(stack: dict[str, str], empty: Roles):
    empty.db.execute(DOCUMENT)
    password = urlsplit(empty.url).password
    empty.db.execute(f"drop role if exists deployer; create role deployer login password '{password}'")
    try:
        url = re.sub("//[^@]*@", f"//deployer:{password}@", empty.url)
        with pytest.raises(migrate.MigrateRefused) as refused:
            migrate.migrate(url)
        told = str(refused.value)
        for words in (
            "auth.users",
            "create a schema",
            "schema public",
            "public.connections",
            "public.scheduled_messages",
        ):
            assert words in told
        follow(empty.db, told)
        empty.db.execute("grant usage on schema auth to deployer; grant anon, authenticated, service_role to deployer")
        assert migrate.migrate(url)
    finally:
        empty.db.execute("drop owned by deployer cascade; drop role deployer")


@pytest.mark.parametrize(
    "name", ["the document's four statuses", "uuids for connections", "uuids for contacts, nothing of blocking"]
)
def test_through_the_real_api(stack: dict[str, str], tmp_path, name: str):
    [animal] = [each for each in ZOO if each.name == name]
    with project(stack, "zoo_api", tmp_path) as here:
        here.db.execute(animal.sql)
        here.migrate()
        user, token = here.sign_up("asha@example.com")
        connection = str(uuid4())
        here.insert("connections", id=connection, name="shop", user_id=user)
        contact = add_contact(here.db, animal, user) or "+919876500000"
        with here.client("SUPABASE_ANON_KEY", token) as http:
            row = {"connection_id": connection, "contact_id": contact, "message": "Hello", "scheduled_at": "2026-01-01"}
            assert http.post("/scheduled_messages", json=row).status_code == 201
        worker: Worker = here.once(tmp_path)

        sent = "select status from scheduled_messages where message = 'Hello'"
        assert one(here.db, sent) == "sent", worker.text
        doctor = here.run("doctor", tmp_path)
        assert doctor.wait(60) == 0, doctor.text


# What somebody does to a database that was migrated: the doctor names it, and what it says mends it.
LATER = [
    ("alter table broadcast_messages alter error type varchar(100)", "error is character varying(100)"),
    ("alter table scheduled_messages add check (status in ('pending', 'sent', 'failed')) not valid",
     "does not know all of ours"),
    ("alter table scheduled_messages add constraint brief check (length(error) < 99)", "brief"),
    ("alter table scheduled_messages alter error set default '', alter error set not null", "error must not be null"),
    ("alter table broadcast_messages alter caption type varchar(20)", "caption is character varying(20)"),
    ("alter table broadcast_jobs add campaign_id uuid not null", "broadcast_jobs.campaign_id must not be null"),
    ("alter table broadcast_jobs add check (status <> 'sending')", "is for rows of the application"),
    ("alter table broadcast_messages disable trigger settle_scheduled_messages",
     "broadcast_messages.settle_scheduled_messages"),
    ("revoke update on broadcast_messages from service_role", "the service key may not use"),
    ("""
        create function no() returns trigger language plpgsql as $$ begin
            if new.status = 'unconfirmed' then raise exception 'no such thing'; end if; return new; end $$;
        create trigger no before update on scheduled_messages for each row execute function no();
     """, "SQLSTATE P0001, trigger no"),
    ("create function gone() returns trigger language plpgsql as 'begin return null; end';"
     "create trigger gone before insert on broadcast_messages for each row execute function gone();", "SQLSTATE"),
    ("alter table scheduled_messages add unique (connection_id, contact_id)", "SQLSTATE 23505"),
    ("alter table scheduled_messages add constraint one_waits exclude using btree (contact_id with =) "
     "where (status = 'pending')", "SQLSTATE 23P01"),
    ("create table archive () inherits (scheduled_messages)", "archive inherits"),
    ("create table devices () inherits (connections)", "devices inherits"),
    (NEXT_BY_ITSELF + "create trigger series after update on scheduled_messages for each row "
     "when (new.status = 'sent' and new.is_recurring) execute function next_by_itself()", "trigger series"),
    ("""
        create function next_by_itself() returns trigger language plpgsql as $$ begin
            insert into scheduled_messages
                (connection_id, contact_id, message, scheduled_at, is_recurring, recurrence_pattern)
            select connection_id, contact_id, message, scheduled_at + interval '1 day', true, 'daily'
            from scheduled_messages where id = new.scheduled_message_id; return null; end $$;
        create trigger series after update on broadcast_messages for each row when (new.status = 'sent')
        execute function next_by_itself()
     """, "trigger series"),
]  # fmt: skip


@pytest.fixture(scope="module")
def migrated(stack: dict[str, str], template: str) -> Iterator[Roles]:
    with another_database(stack["DATABASE_URL"], "zoo_migrated", template) as url, opened(url) as here:
        here.db.execute(CONNECTIONS)
        migrate.migrate(url)
        yield here


@pytest.fixture
def tame(migrated: Roles) -> Iterator[Keeper]:
    yield keeper(migrated, ZOO[0])
    migrated.db.execute("delete from scheduled_messages; delete from connections; delete from auth.users")
    migrated.db.execute("delete from private.connection_owners")  # of the id that the next one has again


@pytest.mark.parametrize(("sql", "words"), LATER, ids=[words for _, words in LATER])
def test_the_doctor_finds_what_was_changed_later_and_what_it_says_helps(
    migrated: Roles, tame: Keeper, sql: str, words: str
):
    here = tame
    with migrated.db.transaction(force_rollback=True):
        assert here.failures() == []
        migrated.db.execute(sql)
        found = here.failures()
        assert [each for each in found if words in each], found
        for _ in range(5):
            for each in found:
                statements = each.partition(" -> ")[2]
                if statements.startswith(("alter", "drop", "create", "with")):
                    migrated.db.execute(statements.partition("; Where")[0].partition(" Where one")[0])
            if not (found := here.failures()) or words == "the service key may not use":
                break
        if words != "SQLSTATE" and words != "the service key may not use":
            assert found == []


def test_a_rehearsal_leaves_nothing_and_takes_nothing_of_others(migrated: Roles, tame: Keeper):
    here = tame
    row = here.write()
    held = "select array_agg(t::text order by t::text) from (select ctid, xmin, * from {}) as t"
    tables = [
        "scheduled_messages",
        "broadcast_jobs",
        "broadcast_messages",
        "connections",
        "private.connection_state",
        "private.recipient_state",
    ]
    before = [one(migrated.db, held.format(table)) for table in tables]

    with psycopg.connect(migrated.url) as somebody:
        somebody.execute("select from scheduled_messages for update")
        somebody.execute("select from connections for no key update")
        somebody.execute("select from private.connection_state for update")
        assert here.failures() == []  # nor does it wait for what they hold

    assert [one(migrated.db, held.format(table)) for table in tables] == before
    assert here.status(row) == "pending"


def test_a_phone_that_is_off_is_known_by_a_number_too(migrated: Roles, tame: Keeper):
    here = tame
    with migrated.db.transaction(force_rollback=True):
        migrated.db.execute(
            "alter table connections alter connected drop default, alter connected type integer using 0"
        )
        row = here.write()
        with pytest.raises(AssertionError, match=r"assert \[\] =="):
            here.claim(row)
        waits = "select waiting_reason from scheduled_messages where id = %s"
        assert one(migrated.db, waits, row) == "the WhatsApp connection is not connected"
        migrated.db.execute("update connections set connected = 1")
        with here.acting("service_role") as db:
            assert one(db, "select json_array_length(jobs) from claim_broadcast_jobs(gen_random_uuid(), 5, 60)") == 1


def test_the_id_of_a_connection_may_be_written_in_capitals_where_it_is_a_uuid(empty: Roles):
    [animal] = [each for each in ZOO if each.name == "uuids for connections"]
    empty.db.execute(animal.sql)
    migrate.migrate(empty.url)
    here = keeper(empty, animal)
    here.connection = here.connection.upper()

    here.record(*here.claim(here.write()), "sent", "wamid.1", None)

    with here.acting("service_role") as db:
        db.execute("insert into connection_settings (connection_id, enabled) values (%s, false)", (here.connection,))
    with pytest.raises(AssertionError, match=r"assert \[\] =="):
        here.claim(here.write())
    assert one(here.db, "select max(waiting_reason) from scheduled_messages") == "this connection is switched off"
