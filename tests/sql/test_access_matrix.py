"""Who may do what, cell by cell, tried through the real API. A column or an RPC without a line here fails."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.helpers.accounts import User
from tests.helpers.rows import Database, one

# r read, i insert, u update, d delete; I, U: the write is accepted, but what it says there is left out, so that rows
# can be copied and written back. `owner` and `other` are two signed-in users, who try it on a row of the owner's.
MATRIX = {
    "scheduled_messages": """
        column               anon  owner  other  service
        (the row)            -     d      -      d
        id                   -     ri     -      riu
        connection_id        -     riu    -      riu
        contact_id           -     riu    -      riu
        message              -     riu    -      riu
        type                 -     riu    -      riu
        media_url            -     riu    -      riu
        caption              -     riu    -      riu
        media                -     riu    -      riu
        asset_id             -     riu    -      riu
        scheduled_at         -     riu    -      riu
        status               -     riu    -      riu
        is_recurring         -     riu    -      riu
        recurrence_pattern   -     riu    -      riu
        recurrence_end_at    -     riu    -      riu
        next_scheduled_at    -     riu    -      riu
        timezone             -     riu    -      riu
        created_by           -     ri     -      riu
        owner_id             -     ri     -      riu
        created_at           -     rI     -      riu
        sent_at              -     rI     -      riu
        message_id           -     rI     -      riu
        error                -     rI     -      riu
        series_id            -     rI     -      riu
        series_anchor        -     rI     -      riu
        occurrence_at        -     rI     -      riu
        missed               -     rI     -      riu
        next_id              -     rI     -      riu
        broadcast_job_id     -     rI     -      riu
        due_at               -     rIU    -      riu
        waiting_reason       -     rIU    -      riu
        waiting_until        -     rIU    -      riu
        delivery_status      -     rI     -      riu
        revision             -     rI     -      riu
        updated_at           -     rIU    -      riu
        category             -     riu    -      riu
        priority             -     rI     -      riu
        held                 -     rI     -      riu
        not_after            -     riu    -      riu
        template             -     riu    -      riu
        template_id          -     riu    -      riu
        variables            -     riu    -      riu
        source_id            -     rI     -      riu
        source_position      -     rI     -      riu
        source_try           -     rI     -      riu
    """,
    "connections": """
        column               anon  owner  other  service
        (the row)            -     d      -      d
        id                   -     riu    -      riu
        name                 -     riu    -      riu
        connected            -     riu    -      riu
        qr                   -     riu    -      riu
        phone_number         -     riu    -      riu
        webhook_config       -     riu    -      riu
        user_id              -     riu    -      riu
        api_key              -     riu    -      riu
        expired_date         -     riu    -      riu
        server               -     riu    -      riu
        status               -     riu    -      riu
        ai_agent_id          -     riu    -      riu
        created_at           -     riu    -      riu
    """,
    "connection_settings": """
        column                      anon  owner  other  service
        (the row)                   -     -      -      d
        connection_id               -     ri     -      riu
        enabled                     -     r      -      riu
        active                      -     riu    -      riu
        display_name                -     riu    -      riu
        approval                    -     riu    -      riu
        gateway                     -     r      -      riu
        sender                      -     r      -      riu
        timezone                    -     riu    -      riu
        country_code                -     riu    -      riu
        messages                    -     r      -      riu
        period_seconds              -     r      -      riu
        burst                       -     r      -      riu
        jitter_seconds              -     r      -      riu
        daily_limit                 -     r      -      riu
        at_daily_limit              -     r      -      riu
        warm_up_from                -     r      -      riu
        warm_up_days                -     r      -      riu
        warm_up_limit               -     r      -      riu
        window_start                -     riu    -      riu
        window_end                  -     riu    -      riu
        recipient_interval_seconds  -     r      -      riu
        updated_at                  -     rIU    -      riu
    """,
    "contacts": """
        column               anon  owner  other  service
        (the row)            -     d      -      d
        id                   -     r      -      riu
        owner_id             -     riu    -      riu
        phone_number         -     riu    -      riu
        contact_name         -     riu    -      riu
        email                -     riu    -      riu
        labels               -     riu    -      riu
        is_blocked           -     riu    -      riu
        is_favorite          -     riu    -      riu
        notes                -     riu    -      riu
        created_at           -     riu    -      riu
        updated_at           -     riu    -      riu
    """,
    "broadcast_jobs": """
        column                anon  owner  other  service
        (the row)             -     -      -      d
        id                    -     -      -      riu
        connection_id         -     -      -      riu
        type                  -     -      -      riu
        template_name         -     -      -      riu
        variables             -     -      -      riu
        contacts              -     -      -      riu
        message               -     -      -      riu
        media_url             -     -      -      riu
        caption               -     -      -      riu
        status                -     -      -      riu
        progress              -     -      -      riu
        total_contacts        -     -      -      riu
        sent_count            -     -      -      riu
        failed_count          -     -      -      riu
        skipped_count         -     -      -      riu
        schedule              -     -      -      riu
        speed                 -     -      -      riu
        is_group              -     -      -      riu
        group_tag             -     -      -      riu
        created_at            -     -      -      riu
        updated_at            -     -      -      riu
        completed_at          -     -      -      riu
        user_id               -     -      -      riu
        isprivatemessage      -     -      -      riu
        contact_id            -     -      -      riu
        broadcast_name        -     -      -      riu
        media                 -     -      -      riu
        asset_id              -     -      -      riu
        error_message         -     -      -      riu
        scheduled_message_id  -     -      -      riu
        series_id             -     -      -      riu
        recipient             -     -      -      riu
        priority              -     -      -      riu
        template              -     -      -      riu
        gateway               -     -      -      riu
        attempts              -     -      -      riu
        retry_attempts        -     -      -      riu
        retry_delay_seconds   -     -      -      riu
        throttled             -     -      -      riu
        refusals              -     -      -      riu
        refused_at            -     -      -      riu
        refusal               -     -      -      riu
        available_at          -     -      -      riu
        expires_at            -     -      -      riu
        lease_token           -     -      -      riu
        lease_until           -     -      -      riu
        send_at               -     -      -      riu
        send_until            -     -      -      riu
        retry_attempts        -     -      -      riu
        retry_delay_seconds   -     -      -      riu
    """,
    "broadcast_messages": """
        column                anon  owner  other  service
        (the row)             -     -      -      d
        id                    -     -      -      riu
        job_id                -     -      -      riu
        contact               -     -      -      riu
        message               -     -      -      riu
        type                  -     -      -      riu
        media_url             -     -      -      riu
        caption               -     -      -      riu
        status                -     -      -      riu
        message_id            -     -      -      riu
        error                 -     -      -      riu
        sent_at               -     -      -      riu
        created_at            -     -      -      riu
        updated_at            -     -      -      riu
        data                  -     -      -      riu
        message_ids           -     -      -      riu
        scheduled_message_id  -     -      -      riu
        delivery_status       -     -      -      riu
        parts                 -     -      -      riu
    """,
}
# x: may call it. What a call shows or writes is in the tests of its own.
FUNCTIONS = """
    function                              anon   owner  other  service
    get_pending_scheduled_messages        -      x      x      x
    get_pending_scheduled_messages_after  -      x      x      x
    connection_usage                      -      x      x      x
    contact_labels                        -      x      x      x
    approved_templates                    -      x      x      x
    count_upcoming_messages               -      x      x      x
    get_due_of_others                     -      -      -      x
    get_agenda                            -      -      -      x
    look_up_recipients                    -      -      -      x
    enqueue_broadcast_jobs                -      -      -      x
    enqueue_and_claim_broadcast_jobs      -      -      -      x
    claim_broadcast_jobs                  -      -      -      x
    record_outcomes                       -      -      -      x
    record_deliveries                     -      -      -      x
    rescue_broadcast_jobs                 -      -      -      x
    resolve_scheduled_message             -      -      -      x
    take_probes                           -      -      -      x
    take_withdrawn_jobs                   -      -      -      x
    finish_probes                         -      -      -      x
    forget_connection                     -      -      -      x
    get_status                            -      -      -      x
    get_holders                           -      -      -      x
    diagnose                              -      -      -      x
    get_timezones                         -      -      -      x
    render_template                       -      x      x      x
    get_campaign_agenda                   -      -      -      x
    start_campaign_run                    -      -      -      x
    freeze_campaign_run                   -      -      -      x
    record_approved_templates             -      -      -      x
    record_judged_numbers                 -      -      -      x
    get_numbers_asked                     -      -      -      x
    record_template_statuses              -      -      -      x
    advance_campaign_run                  -      -      -      x
    finish_campaign_run                   -      -      -      x
    get_status_with_runs                  -      -      -      x
    settle_run                            -      -      -      x
    take_ended_runs                       -      -      -      x
    stop_campaign_run                     -      -      -      x
    rehearse_campaign                     -      x      x      x
    take_rehearsal                        -      -      -      x
    advance_rehearsal                     -      -      -      x
    stop_rehearsal                        -      -      -      x
    estimate_campaign                     -      x      x      x
    estimate_campaign_runs                -      -      -      x
    read_audit_log                        -      -      -      x
    read_messages                         -      -      -      x
"""
# Those of what writes messages: tests/sources/test_access.py.
OF_SOURCES = {
    "appointments", "audit_log", "campaign_recipients", "campaign_rehearsal_lines", "campaign_rehearsals",
    "campaign_retries", "campaign_runs", "campaigns", "connection_invitations", "connection_members",
    "daily_outcomes", "message_templates", "reminder_rules",
}  # fmt: skip
ROLES = ("anon", "owner", "other", "service")
REFUSALS = (401, 403, 409)  # no privilege as anon; as a user; an edit that the guard refuses

# A value that a column takes; what is not here is chosen by its type.
SAMPLES: dict[str, Any] = {
    "scheduled_messages.type": "image",
    "scheduled_messages.recurrence_pattern": "weekly",
    "scheduled_messages.timezone": "Asia/Kolkata",
    "scheduled_messages.due_at": "2031-01-01T00:00:00+00:00",
    "connection_settings.enabled": False,
    "connection_settings.burst": 2,
    "connection_settings.gateway": "mock",
    "connection_settings.timezone": "Asia/Kolkata",
    "connection_settings.country_code": "IN",
    "connection_settings.at_daily_limit": "fail",
    "connection_settings.daily_limit": 100,
    "connection_settings.approval": "none",
    "broadcast_jobs.status": "completed",
}
BY_TYPE: dict[str, Callable[[], Any]] = {
    "uuid": lambda: str(uuid4()),
    "text": lambda: str(uuid4()),
    "varchar": lambda: "+919876543210",
    "bool": lambda: True,
    "int2": lambda: 1,
    "int4": lambda: 1,
    "int8": lambda: uuid4().int % 10**15,
    "float8": lambda: 2.5,
    "json": lambda: {"a": 1},
    "jsonb": lambda: {"a": 1},
    "_text": lambda: ["a"],
    "date": lambda: "2030-01-01",
    "time": lambda: "08:00:00",
    "timestamp": lambda: "2030-01-01T08:00:00",
    "timestamptz": lambda: "2030-01-01T08:00:00+00:00",
}
BASES: dict[str, dict[str, Any]] = {
    "scheduled_messages": {"contact_id": "1", "message": "Hello", "scheduled_at": "2030-01-01T00:00:00Z"},
    "connections": {"name": "shop"},
    "contacts": {"phone_number": "+919876543210"},
    "connection_settings": {
        "messages": 2,
        "period_seconds": 1,
        "window_start": "09:00",
        "window_end": "20:00",
        "daily_limit": 9,
        "warm_up_from": "2026-01-01",
        "warm_up_days": 9,
        "warm_up_limit": 2,
    },
    "broadcast_jobs": {"status": "completed"},
    "broadcast_messages": {"contact": "919876543210"},
}
SERIES = {"series_anchor": "2029-01-01T00:00:00", "occurrence_at": "2029-01-01T00:00:00Z"}


def lines(text: str) -> dict[str, dict[str, str]]:
    """{"message": {"owner": "riu", …}, …}"""
    _, *body = (line.rsplit(maxsplit=4) for line in text.strip().splitlines())
    return {name.strip(): dict(zip(ROLES, (c.replace("-", "") for c in cells), strict=True)) for name, *cells in body}


@dataclass(frozen=True)
class Api:
    """The REST API under each role, and the database for what the API does not show."""

    db: Database
    clients: dict[str, httpx.Client]
    owner: User
    other: User

    def base(self, table: str, role: str) -> dict[str, Any]:
        """The least of a row that a table takes, as `role` would write it in the owner's name."""
        whose = {
            "scheduled_messages": {"connection_id": self.owner.connection_id},
            "connections": {"user_id": self.owner.id},
            "contacts": {"owner_id": self.owner.id},
        }.get(table, {})
        forged = {"created_by": self.owner.id, "owner_id": self.owner.id}
        if (table, role) == ("connection_settings", "owner"):  # the rest is the operator's
            return {"window_start": "09:00", "window_end": "20:00"}
        return BASES[table] | whose | (forged if (table, role) == ("scheduled_messages", "other") else {})

    def row(self, table: str) -> tuple[str, str]:
        """A fresh row of the owner's: its key's name and value."""
        columns, key = self.base(table, "service"), "id"
        if table == "scheduled_messages":
            columns |= SERIES | {"series_id": str(uuid4()), "recurrence_pattern": "daily"}
            columns |= {"created_by": self.owner.id, "owner_id": self.owner.id}
        if table == "connection_settings":
            key, columns["connection_id"] = "connection_id", self.row("connections")[1]
        names, places = ", ".join(columns), ", ".join(["%s"] * len(columns))
        sql = f"insert into {table} ({names}) values ({places}) returning {key}::text as key"
        return key, self.db.execute(sql, list(columns.values())).fetchone()["key"]

    def sample(self, table: str, column: str, kind: str, role: str, verb: str) -> Any:
        """What `role` writes there."""
        if (table, column) == ("connection_settings", "connection_id"):
            return self.row("connections")[1]
        if column == "template_id":
            return self.template()
        if column in ("created_by", "owner_id", "user_id") and table != "broadcast_jobs":
            takes_over = verb == "u" and (role == "other" or (role, table) == ("owner", "scheduled_messages"))
            return self.other.id if takes_over else self.owner.id
        chosen = {
            "scheduled_messages.status": "cancelled" if verb == "u" else "pending",
            "scheduled_messages.connection_id": self.owner.connection_id,
        }
        samples = SAMPLES | chosen
        return samples[name] if (name := f"{table}.{column}") in samples else BY_TYPE[kind]()

    def template(self) -> str:
        """One of the owner's, with nothing to fill in."""
        sql = "insert into message_templates (owner_id, name, body) values (%s, 'A text', 'Hello') returning id::text"
        return str(one(self.db, sql, self.owner.id))

    def beside(self, table: str, column: str) -> dict[str, Any]:
        """What a new row needs for that column's sake."""
        if table == "connection_settings" and column != "connection_id":
            return {"connection_id": self.row("connections")[1]}
        if column in SERIES:
            return {**SERIES, "series_id": str(uuid4())}
        return {"recurrence_pattern": "daily"} if column == "is_recurring" else {}


@pytest.fixture
def api(stack, db, tenants, service) -> Iterator[Api]:
    owner, other = tenants
    key = {"apikey": stack["SUPABASE_ANON_KEY"]}
    with httpx.Client(base_url=service.base_url, headers=key, trust_env=False) as anon:
        clients = {"anon": anon, "owner": owner.http, "other": other.http, "service": service}
        yield Api(db, clients, owner, other)


@dataclass(frozen=True)
class Cell:
    """One attempt. `target`: the row's key and value, for what needs a row; `sample`: what is written."""

    role: str
    verb: str
    table: str
    column: str
    target: tuple[str, str]
    sample: Any
    allowed: str

    def fault(self, api: Api) -> str | None:
        """What is wrong, in words."""
        tried = self.outcome(api)
        stated = next((letter for letter in self.allowed if letter.lower() == self.verb), "-")
        return None if tried == stated else f"{self.role} {self.verb} {self.column}: {tried} instead of {stated}"

    def outcome(self, api: Api) -> str:
        """The verb where the role has its way, in capitals where only its value is left out; "-" where it is refused,
        which must be for a reason that is meant.
        """
        answer = self.attempt(api)
        if answer.is_success:
            [*rows] = answer.json()
            is_left_out = (
                self.verb in "iu"
                and self.role != "service"
                and rows
                and str(rows[0][self.column])[:10] != str(self.sample)[:10]
            )
            return (self.verb.upper() if is_left_out else self.verb) if rows else "-"
        assert answer.status_code in REFUSALS, f"{self}: {answer.status_code} {answer.text}"
        return "-"

    def attempt(self, api: Api) -> httpx.Response:
        client, (key, value), path = api.clients[self.role], self.target, f"/{self.table}"
        filters, shown = {key: f"eq.{value}"}, {"prefer": "return=representation"}
        match self.verb:
            case "r":
                return client.get(path, params={**filters, "select": self.column})
            case "i":
                beside = api.beside(self.table, self.column)
                row = {**api.base(self.table, self.role), **beside, self.column: self.sample}
                return client.post(path, json=row, headers=shown)
            case "u":
                return client.patch(path, params=filters, json={self.column: self.sample}, headers=shown)
            case _:
                return client.delete(path, params=filters, headers=shown)


def kinds(db: Database, table: str) -> dict[str, str]:
    """Each column's type, under PostgreSQL's own name for it."""
    sql = (
        "select column_name, udt_name from information_schema.columns where table_schema = 'public' and table_name = %s"
    )
    return {row["column_name"]: row["udt_name"] for row in db.execute(sql, (table,))}


def cells(api: Api, table: str, stated: dict[str, dict[str, str]], columns: dict[str, str]) -> Iterator[Cell]:
    some_row = api.row(table)
    for column, allowed in stated.items():
        for role in ROLES:
            for verb in "riu" if column in columns else "d":
                target = api.row(table) if verb in "ud" else some_row
                sample = api.sample(table, column, columns[column], role, verb) if verb in "iu" else None
                yield Cell(role, verb, table, column, target, sample, allowed[role])


@pytest.mark.parametrize("table", MATRIX)
def test_every_cell_of_the_table_is_as_the_matrix_says(api, table):
    stated, columns = lines(MATRIX[table]), kinds(api.db, table)
    assert set(stated) - {"(the row)"} == set(columns), "a column without a line, or a line without a column"

    with ThreadPoolExecutor(8) as pool:
        tried = pool.map(lambda cell: cell.fault(api), cells(api, table, stated, columns))
        assert [fault for fault in tried if fault] == []


def test_every_table_and_view_that_the_api_shows_is_in_the_matrix(db):
    sql = "select table_name from information_schema.tables where table_schema = 'public'"

    assert {row["table_name"] for row in db.execute(sql)} == set(MATRIX) | OF_SOURCES


def test_every_function_is_open_to_whom_the_matrix_says(api):
    sql = """
        select proname, proargnames[1:pronargs] as names, proargtypes::regtype[]::text[] as types
        from pg_proc where pronamespace = 'public'::regnamespace
    """
    functions = {row["proname"]: row for row in api.db.execute(sql)}
    stated = lines(FUNCTIONS)
    elsewhere = {"invite_member", "retry_campaign_run", "schedule_to_contacts", "send_test", "set_up_reminders"}
    assert set(functions) == set(stated) | elsewhere, "a function without a line, or a line without a function"

    wrong = []
    for name, allowed in stated.items():
        taken = zip(functions[name]["names"] or [], functions[name]["types"] or [], strict=False)
        arguments = {given: argument(given, kind) for given, kind in taken}
        for role in ROLES:
            answer = api.clients[role].post(f"/rpc/{name}", json=arguments)
            assert answer.is_success or answer.status_code in (401, 403), f"{role} {name}: {answer.text}"
            if answer.is_success != (allowed[role] == "x"):
                wrong.append(f"{role} {'can' if answer.is_success else 'cannot'} call {name}")
    assert wrong == []


def argument(name: str, kind: str) -> Any:
    """A harmless value: nothing, nobody, none."""
    if kind.endswith("[]"):
        return []
    if name == "p_rows":
        return "[]"
    if name == "p_after_transaction":
        return "0"
    of_type = {"uuid": str(uuid4()), "integer": 0, "double precision": 1.0, "text": "nobody"}
    return "sent" if name == "p_outcome" else of_type.get(kind)


def test_nobody_reaches_the_private_schema_through_the_api(api):
    tables = [
        row["name"] for row in api.db.execute("select tablename as name from pg_tables where schemaname = 'private'")
    ]
    sql = "select proname as name from pg_proc where pronamespace = 'private'::regnamespace"
    functions = [row["name"] for row in api.db.execute(sql)]
    assert tables
    assert functions
    for role in ROLES:
        for path, header in [(t, "accept-profile") for t in tables] + [
            (f"rpc/{f}", "content-profile") for f in functions
        ]:
            answer = api.clients[role].request(
                "POST" if path.startswith("rpc") else "GET", f"/{path}", headers={header: "private"}, json={}
            )
            assert answer.status_code == 406, f"{role} {path}: {answer.status_code} {answer.text}"
