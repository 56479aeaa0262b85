"""Twenty faults of the feature document's SQL. Each test tries one on a database with that SQL as printed, where it
must show, and on one with ours, where it must not. Both stand beside the upstream application's connections in an
older project, whose default privileges give everything away.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from tests.helpers.calls import enqueue
from tests.sql.roles import Roles, another_database, opened, sql_file
from worker.operating import migrate

BOTH = ("the document", "ours")
REFUSED = {"42501", "PT409", "PT400", "23514"}  # by a privilege or policy, by the guard, by a check
UPSTREAM_CONNECTIONS = re.search(
    r"create table public\.connections.*?(?=create table public\.contacts)", sql_file("upstream.sql"), re.S
)[0]
INSERT = """
    insert into scheduled_messages (connection_id, contact_id, message, scheduled_at, created_by{more})
    values (%s, '+919876500000', 'Hello', now(), %s{values}) returning *
"""


@dataclass(frozen=True)
class World(Roles):
    """A database with one of the two schemas, where Asha (`a`) and Ben (`b`) have an account and a connection each."""

    name: str
    a: UUID
    b: UUID

    def shows(self, fault: object) -> bool:
        """Whether a fault was seen where it must be seen, and only there."""
        return bool(fault) == (self.name == "the document")

    def scheduled(self, by: UUID | None, **columns: Any) -> UUID:
        """A row as it lies in the table, whoever wrote it."""
        row = {"connection_id": str(by or self.a), "contact_id": "+919876500000", "message": f"from {by}",
               "scheduled_at": "2026-01-01", "created_by": by, **columns}  # fmt: skip
        places = ", ".join(["%s"] * len(row))
        sql = f"insert into scheduled_messages ({', '.join(row)}) values ({places}) returning id"
        return self.db.execute(sql, list(row.values())).fetchone()["id"]

    def being_sent(self, by: UUID) -> UUID:
        """A row that a worker is sending at this moment."""
        row = self.scheduled(by, status="processing")
        if self.name == "ours":
            job = uuid4()
            sql = "insert into broadcast_jobs (id, scheduled_message_id, status) values (%s, %s, 'sending')"
            self.db.execute(sql, (job, row))
            self.db.execute("update scheduled_messages set broadcast_job_id = %s where id = %s", (job, row))
        return row

    def inserted(self, by: UUID, connection: str, **columns: Any) -> str | list[dict[str, Any]]:
        """What `by` gets for a row of their own through that connection."""
        more, values = "".join(f", {name}" for name in columns), ", %s" * len(columns)
        return self.tried(
            "authenticated", by, INSERT.format(more=more, values=values), connection, by, *columns.values()
        )

    def updated(self, by: UUID, row: UUID, **columns: Any) -> str | list[dict[str, Any]]:
        sets = ", ".join(f"{name} = %s" for name in columns)
        sql = f"update scheduled_messages set {sets} where id = %s returning *"
        return self.tried("authenticated", by, sql, *columns.values(), row)

    def texts(self, sql: str) -> set[str]:
        """The first column of the superuser's answer."""
        return {next(iter(row.values())) for row in self.db.execute(sql)}


def accepted(answer: str | list[dict[str, Any]]) -> bool:
    """Whether a row was written; a refusal must be one that was meant."""
    assert isinstance(answer, list) or answer in REFUSED, answer
    return isinstance(answer, list) and len(answer) > 0


@pytest.fixture(scope="module")
def databases(stack: dict[str, str]) -> Iterator[dict[str, str]]:
    """URLs of a database with the document's SQL and of one with ours."""
    with (
        another_database(stack["DATABASE_URL"], "the_document") as documents,
        another_database(stack["DATABASE_URL"], "ours") as ours,
    ):
        for url in (documents, ours):
            with opened(url) as fresh:
                fresh.db.execute(sql_file("platform.sql"))
                fresh.db.execute(UPSTREAM_CONNECTIONS)
        with opened(documents) as documented:
            documented.db.execute(sql_file("feature_document.sql"))
        migrate.migrate(ours)
        yield {"the document": documents, "ours": ours}


@pytest.fixture(params=BOTH)
def world(databases: dict[str, str], request: pytest.FixtureRequest) -> Iterator[World]:
    with opened(databases[request.param]) as here:
        here.db.execute("truncate auth.users, connections, scheduled_messages cascade")
        yield World(here.url, here.db, request.param, here.person(), here.person())


PENDING = "select message from get_pending_scheduled_messages()"


def test_01_as_another_tenant_the_rpc_shows_what_is_due(world):
    world.scheduled(world.a)

    assert world.shows(world.tried("authenticated", world.b, PENDING))
    assert len(world.tried("authenticated", world.a, PENDING)) == 1


def test_02_as_anon_the_rpc_shows_what_is_due_without_any_login(world):
    world.scheduled(world.a)

    assert world.shows(isinstance(world.tried("anon", "", PENDING), list))
    assert len(world.tried("service_role", "", PENDING)) == 1


def test_03_as_another_tenant_a_message_goes_through_a_connection_that_is_not_mine(world):
    assert world.shows(accepted(world.inserted(world.b, str(world.a))))
    assert accepted(world.inserted(world.b, str(world.b)))


def test_04_as_another_tenant_a_refusal_tells_which_connections_exist(world):
    assert world.shows(world.inserted(world.b, str(world.a)) != world.inserted(world.b, "no such connection"))


@pytest.mark.parametrize(
    "columns",
    [
        {"status": "sent", "sent_at": "2020-01-01", "message_id": "forged"},
        {"status": "failed", "error": "forged"},
        {"created_at": "2020-01-01"},
    ],
    ids=str,
)
def test_05_as_the_owner_columns_of_the_daemon_are_writable(world, columns):
    assert world.shows(holds(world.inserted(world.a, str(world.a), **columns), columns))
    assert world.shows(holds(world.updated(world.a, world.scheduled(world.a), **columns), columns))


def holds(answer: str | list[dict[str, Any]], columns: dict[str, Any]) -> bool:
    """Whether what was forged is what the row then says; it may also be refused, or left out."""
    return accepted(answer) and all(str(answer[0][name]).startswith(value) for name, value in columns.items())


def test_05_as_the_owner_a_sent_message_is_sent_again(world):
    row = world.scheduled(world.a, status="sent", sent_at="2026-01-01", message_id="true_1")

    assert world.shows(accepted(world.updated(world.a, row, status="pending")))


def test_06_as_the_owner_an_update_moves_a_message_to_another_tenants_connection(world):
    row = world.scheduled(world.a)

    assert world.shows(accepted(world.updated(world.a, row, connection_id=str(world.b))))
    assert not accepted(world.updated(world.a, row, created_by=world.b))


def test_07_as_the_owner_a_message_changes_or_vanishes_while_it_is_being_sent(world):
    row = world.being_sent(world.a)

    assert world.shows(accepted(world.updated(world.a, row, message="Changed")))
    sql = "delete from scheduled_messages where id = %s returning id"
    assert world.shows(accepted(world.tried("authenticated", world.a, sql, row)))


def test_08_the_messages_of_a_deleted_user_are_still_sent(world):
    world.scheduled(world.a)
    world.scheduled(None, message="of the service key", connection_id=str(world.b))

    world.db.execute("delete from auth.users where id = %s", (world.a,))

    due = {row["message"] for row in world.tried("service_role", "", PENDING)}
    assert "of the service key" in due
    assert world.shows(f"from {world.a}" in due)
    assert f"from {world.a}" in world.texts("select message from scheduled_messages")


def test_08_a_deleted_connection_takes_the_history_with_it(world):
    world.scheduled(world.a, status="sent", sent_at="2026-01-01", message_id="true_1")

    world.db.execute("delete from connections where id = %s", (str(world.a),))

    assert world.shows(not world.texts("select id from scheduled_messages"))


def test_09_as_the_daemon_two_of_them_win_the_same_message(world):
    world.scheduled(world.a)
    with opened(world.url) as other:
        both = [
            here.execute("select * from get_pending_scheduled_messages()").fetchone() for here in (world.db, other.db)
        ]
        wins = [won(here, row) for here, row in zip((world.db, other.db), both, strict=True)]

    assert world.shows(wins == [True, True])
    assert wins[0]


def won(db: psycopg.Connection[Any], row: dict[str, Any]) -> bool:
    """Whether a daemon that read this row may send it: by the one way that each schema offers."""
    if "revision" not in row:
        return (
            db.execute("update scheduled_messages set status = 'processing' where id = %s", (row["id"],)).rowcount == 1
        )
    planned = {"id": row["id"], "revision": row["revision"], "job_id": uuid4(), "recipient": row["contact_id"]}
    return enqueue(db, planned) == [str(row["id"])]


def test_10_the_functions_search_path_is_the_callers(world):
    sql = """
        select proname from pg_proc
        where pronamespace = 'public'::regnamespace and coalesce(proconfig::text, '') not like '%search_path=%'
    """

    assert world.shows(world.texts(sql))


def test_11_as_the_daemon_the_list_has_no_limit_and_no_order_among_equals(world):
    world.db.execute(
        """
        insert into scheduled_messages (id, connection_id, contact_id, message, scheduled_at)
        select lpad(to_hex(2000 - n), 32, '0')::uuid, %s, '1', 'Hello', '2026-01-01' from generate_series(1, 1500) as n
        """,
        (str(world.a),),
    )

    listed = [row["id"] for row in world.tried("service_role", "", "select id from get_pending_scheduled_messages()")]

    assert world.shows(len(listed) > 1000)
    assert world.shows(listed != sorted(listed))


def test_12_as_anybody_the_api_reads_the_text_of_every_message(world):
    world.scheduled(world.a, message="A confidential text")

    answers = [world.tried(role, sub, PENDING) for role, sub in (("anon", ""), ("authenticated", world.b))]

    assert world.shows(any("A confidential text" in str(answer) for answer in answers))


NONSENSE = [
    {"status": "lol"},
    {"type": "banana"},
    {"is_recurring": True, "recurrence_pattern": "every blue moon"},
    {"is_recurring": True, "recurrence_pattern": None},
    {"scheduled_at": "infinity"},
    {"scheduled_at": "1026-01-01"},
    {"message": "x" * 100_000},
    {"contact_id": "x" * 100_000},
    {"media_url": "https://example.com/" + "x" * 100_000},
]


@pytest.mark.parametrize("columns", NONSENSE, ids=lambda c: str(c)[:60])
def test_13_nonsense_is_stored_for_the_owner_and_for_the_daemon(world, columns):
    row = {
        "connection_id": str(world.a),
        "contact_id": "1",
        "message": "Hello",
        "scheduled_at": "2026-01-01",
        **columns,
    }
    names, places = ", ".join(row), ", ".join(["%s"] * len(row))
    sql = f"insert into scheduled_messages ({names}, created_by) values ({places}, %s) returning id"

    for role in ("authenticated", "service_role"):
        assert world.shows(accepted(world.tried(role, world.a, sql, *row.values(), world.a))), role


def test_14_as_the_owner_the_dialogs_insert_is_refused_because_it_names_no_author(world):
    sql = """
        insert into scheduled_messages (connection_id, contact_id, message, scheduled_at)
        values (%s, '1', 'Hello', now()) returning created_by
    """

    answer = world.tried("authenticated", world.a, sql, str(world.a))

    assert world.shows(answer == "42501")
    if world.name == "ours":
        assert answer == [{"created_by": world.a}]


def test_15_the_policies_are_for_everybody_anon_included(world):
    sql = "select array_to_string(roles, ',') from pg_policies where tablename = 'scheduled_messages'"

    assert world.shows(world.texts(sql) != {"authenticated"})


def test_16_as_anon_the_table_can_be_truncated_and_as_a_user_too(world):
    for role in ("anon", "authenticated"):
        sql = f"""
            select privilege from unnest(array['truncate', 'references', 'trigger']) as p (privilege)
            where has_table_privilege('{role}', 'scheduled_messages', privilege)
        """
        assert world.texts(sql) == ({"truncate", "references", "trigger"} if world.name == "the document" else set())


def test_17_as_the_daemon_what_is_due_is_found_by_reading_much_that_is_not(world):
    world.db.execute(
        """
        insert into scheduled_messages (connection_id, contact_id, message, scheduled_at, status, sent_at, message_id)
        select %s, n, 'Hello', '2026-01-01', case n %% 100 when 0 then 'pending' else 'sent' end, '2026-01-01', 'm'
        from generate_series(1, 5000) as n
        """,
        (str(world.a),),
    )
    world.db.execute("analyze scheduled_messages")
    query = (
        "select * from scheduled_messages where due_at <= now() order by due_at, id limit 1000"
        if world.name == "ours"
        else "select * from scheduled_messages where status = 'pending' and scheduled_at <= now()"
        " order by scheduled_at, id limit 1000"
    )

    plan = "\n".join(world.texts(f"explain (costs off) {query}"))

    assert world.shows("scheduled_messages_due_idx" not in plan or "Sort" in plan)
    by_author = (
        "select indexdef from pg_indexes where tablename = 'scheduled_messages' and indexdef like '%(created_by)%'"
    )
    assert world.shows(not world.texts(by_author))


def test_18_a_function_that_reads_says_that_it_writes(world):
    sql = "select provolatile::text from pg_proc where proname = 'get_pending_scheduled_messages'"

    assert world.shows(world.texts(sql) == {"v"})


def test_19_the_sql_cannot_be_run_twice(world):
    if world.name == "ours":
        assert migrate.migrate(world.url) == []
        scripts = [path.read_text() for path in migrate.migrations()]
    else:
        scripts = [sql_file("feature_document.sql")]
    try:
        for script in scripts:
            world.db.execute(script)
    except psycopg.errors.DuplicateObject:
        assert world.shows(True)
    else:
        assert world.shows(False)


def test_20_nothing_tells_when_a_row_changed_or_tells_a_front_end(world):
    row = world.scheduled(world.a)
    columns = world.texts("select column_name from information_schema.columns where table_name = 'scheduled_messages'")
    published = world.texts("select tablename from pg_publication_tables where pubname = 'supabase_realtime'")

    assert world.shows("updated_at" not in columns)
    assert world.shows("scheduled_messages" not in published)
    if world.name == "ours":
        with world.acting("authenticated", world.a) as db:
            sql = "update scheduled_messages set message = 'Changed' where id = %s returning updated_at = now() as told"
            assert db.execute(sql, (row,)).fetchone() == {"told": True}


def test_what_is_kept_for_good_nobody_writes_where_everything_is_given_away(databases):
    sql = """
        select grantee, privilege_type from information_schema.role_table_grants
        where table_name = 'audit_log' and grantee in ('anon', 'authenticated', 'service_role')
    """
    with opened(databases["ours"]) as here:
        given = {tuple(row.values()) for row in here.db.execute(sql)}
    assert given == {("authenticated", "SELECT"), ("service_role", "SELECT")}
