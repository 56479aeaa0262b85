"""What else somebody might try who is signed in, or is not, and is not meant to get through."""

import json
from contextlib import suppress
from uuid import uuid4

import httpx
import psycopg
import pytest

from tests.helpers.calls import record
from tests.helpers.rows import add_connections, message, one, schedule
from tests.sql.states import add_job, answered, job_of, row_in, status

RETURN = {"prefer": "return=representation"}


def draft(connection: str, **columns: object) -> dict[str, object]:
    row = {"connection_id": connection, "contact_id": "+919876500000", "message": "Hello"}
    return {**row, "scheduled_at": "2030-01-01T00:00:00+00:00", **columns}


def upsert(client: httpx.Client, row: object, **params: str) -> httpx.Response:
    headers = {"prefer": "resolution=merge-duplicates,return=representation"}
    return client.post("/scheduled_messages", params=params, json=row, headers=headers)


@pytest.fixture
def theirs(db, tenants):
    """theirs("failed"): a row of the second tenant's in that state."""
    _, other = tenants
    return lambda state="pending", **columns: row_in(db, state, other.connection_id, other.id, **columns)


def test_an_upsert_with_the_id_of_another_tenants_message_changes_nothing(db, tenants, theirs):
    row = theirs()
    before = message(db, row)

    answer = upsert(tenants[0].http, draft(tenants[0].connection_id, id=row, message="Mine now"))

    assert answer.status_code in (401, 403)
    assert message(db, row) == before


def test_an_upsert_on_another_key_changes_nothing_either(db, tenants, theirs):
    row = theirs(series_id=str(uuid4()), series_anchor="2026-01-01", occurrence_at="2026-01-01T00:00:00Z")
    before = message(db, row)
    forged = draft(
        tenants[0].connection_id, series_id=str(before["series_id"]), occurrence_at=before["occurrence_at"].isoformat()
    )

    answer = upsert(tenants[0].http, forged, on_conflict="series_id,occurrence_at")

    assert answer.is_client_error
    assert message(db, row) == before
    assert one(db, "select count(*) from scheduled_messages") == 1


def test_one_bad_row_takes_the_whole_bulk_insert_with_it(db, tenants):
    mine, other = tenants
    rows = [draft(mine.connection_id), draft(other.connection_id), draft(mine.connection_id)]

    assert mine.http.post("/scheduled_messages", json=rows).status_code == 403
    assert one(db, "select count(*) from scheduled_messages") == 0


def test_a_bulk_insert_whose_rows_leave_columns_empty_gets_the_defaults(tenants):
    rows = [
        draft(tenants[0].connection_id, status=None, type=None, owner_id=None, created_by=None, id=None),
        draft(
            tenants[0].connection_id, status="pending", type="image", owner_id=tenants[0].id, created_by=None, id=None
        ),
    ]

    inserted = tenants[0].http.post("/scheduled_messages", json=rows, headers=RETURN).json()

    assert {(row["status"], row["owner_id"], row["created_by"]) for row in inserted} == {
        ("pending", tenants[0].id, tenants[0].id)
    }
    assert [row["type"] for row in inserted] == ["text", "image"]


@pytest.mark.parametrize("whose", ["owner_id", "created_by"])
def test_a_message_in_somebody_elses_name_is_refused(tenants, whose):
    forged = draft(tenants[0].connection_id, **{whose: tenants[1].id})

    assert tenants[0].http.post("/scheduled_messages", json=forged).status_code == 403


@pytest.mark.parametrize(
    "forged",
    [
        {"series_id": str(uuid4())},
        {"next_id": str(uuid4())},
        {"revision": 7},
        {"broadcast_job_id": str(uuid4())},
        {"sent_at": "2026-01-01T00:00:00Z"},
        {"occurrence_at": "2026-01-01T00:00:00Z"},
        {"waiting_until": "2030-01-01T00:00:00Z"},
    ],
    ids=lambda c: next(iter(c)),
)
def test_columns_of_the_daemon_are_forged_neither_on_insert_nor_on_update(db, tenants, forged):
    mine = tenants[0]
    row = row_in(db, "pending", mine.connection_id, mine.id)
    before = message(db, row)

    [inserted] = mine.http.post("/scheduled_messages", json=draft(mine.connection_id, **forged), headers=RETURN).json()
    assert all(inserted[name] != value for name, value in forged.items())
    assert inserted["series_id"] is inserted["next_id"] is inserted["broadcast_job_id"] is None
    answer = mine.http.patch("/scheduled_messages", params={"id": f"eq.{row}"}, json=forged)
    assert answer.is_success if "waiting_until" in forged else answer.status_code == 403
    assert {**message(db, row), "updated_at": 0} == {**before, "updated_at": 0}


def test_an_insert_that_names_fewer_columns_than_it_sends_forges_nothing(tenants):
    columns = "connection_id,contact_id,message,scheduled_at"
    row = draft(tenants[0].connection_id, sent_at="2026-01-01T00:00:00Z", message_id="forged")

    answer = tenants[0].http.post("/scheduled_messages", params={"columns": columns}, json=row, headers=RETURN)

    assert answer.status_code == 403 or (answer.json()[0]["sent_at"], answer.json()[0]["message_id"]) == (None, None)


def test_aliases_filters_and_embeddings_show_nothing_of_another_tenants(tenants, theirs):
    row = theirs(message="A confidential text")
    http = tenants[0].http
    for params in (
        {"select": "secret:message"},
        {"select": "message", "id": f"eq.{row}"},
        {"select": "id", "message": "like.*confidential*"},
        {"or": f"(id.eq.{row},status.eq.pending)"},
        {"select": "count"},
    ):
        answer = http.get("/scheduled_messages", params=params)
        assert answer.is_client_error or answer.json() in ([], [{"count": 0}]), params
    counted = http.head("/scheduled_messages", headers={"prefer": "count=exact"})
    assert counted.headers["content-range"].endswith("/0")


def test_a_token_without_a_user_sees_and_writes_nothing(roles, tenants, theirs):
    theirs()
    columns = "connection_id, contact_id, message, scheduled_at"
    sql = f"insert into scheduled_messages ({columns}) values (%s, '1', 'Hi', now())"

    assert roles.tried("authenticated", "", "select * from scheduled_messages") == []
    assert roles.tried("authenticated", "", sql, tenants[0].connection_id) == "42501"
    assert roles.tried("authenticated", "", "update scheduled_messages set message = '' returning id") == []


def test_a_forged_token_is_nobody(stack, tenants, theirs):
    theirs()
    head, payload, signature = tenants[1].token.split(".")
    for token in (f"{head}.{payload}.", f"{head}.{payload}.{signature[::-1]}", "eyJhbGciOiJub25lIn0." + payload + "."):
        headers = {"apikey": stack["SUPABASE_ANON_KEY"], "authorization": f"Bearer {token}"}
        answer = httpx.get(f"{stack['SUPABASE_URL']}/rest/v1/scheduled_messages", headers=headers, trust_env=False)
        assert answer.status_code == 401


def test_the_contact_of_another_tenant_leads_to_no_number(db, tenants, service):
    mine, other = tenants
    contact = one(
        db, "insert into contacts (owner_id, phone_number) values (%s, '+919876543210') returning id", other.id
    )
    rows = {name: row_in(db, "pending", one_.connection_id, one_.id, contact_id=str(contact))
            for name, one_ in (("mine", mine), ("theirs", other))}  # fmt: skip

    found = service.post("/rpc/look_up_recipients", json={"p_ids": list(rows.values())}).json()

    known = {row["id"]: row["phone_number"] for row in found[0]["known"] or []}
    assert known == {rows["theirs"]: "+919876543210"}


async def test_as_the_daemon_a_message_to_another_tenants_contact_fails_and_reaches_nobody(db, tenants, parts):
    mine, other = tenants
    contact = one(
        db, "insert into contacts (owner_id, phone_number) values (%s, '+919876543210') returning id", other.id
    )
    row = row_in(db, "pending", mine.connection_id, mine.id, contact_id=str(contact))

    daemon = await parts()
    await daemon.scheduler.poll()
    await daemon.dispatcher.send_all()

    assert status(db, row) == "failed"
    assert one(db, "select count(*) from broadcast_jobs") == 0


def test_a_connection_that_was_taken_away_is_no_longer_sent_through_after_an_edit(db, tenants):
    mine, other = tenants
    row = row_in(db, "pending", mine.connection_id, mine.id)
    db.execute("update connections set user_id = %s where id = %s", (other.id, mine.connection_id))

    answer = mine.http.patch("/scheduled_messages", params={"id": f"eq.{row}"}, json={"status": "pending"})

    assert answer.status_code == 403
    assert status(db, row) == "cancelled"


async def test_a_message_that_is_inserted_again_under_its_old_id_is_sent_again(db, tenants, parts):
    mine, daemon = tenants[0], await parts()
    row = mine.insert(**draft(mine.connection_id, scheduled_at="2026-01-01T00:00:00Z"))
    for _ in range(2):
        await daemon.scheduler.poll()
        await daemon.dispatcher.send_all()
        assert status(db, row["id"]) == "sent"
        mine.delete(row["id"])
        mine.insert(**draft(mine.connection_id, scheduled_at="2026-01-01T00:00:00Z", id=row["id"]))


POISON = ["[" * 3_000 + "]" * 3_000, "[" + "1" * 5_000 + "]", '{"url": "\\u0000"}', '{"url": "\\ud800"}', "[1e400]"]


@pytest.mark.parametrize("due", ["now() - interval '1 hour'", "now() + interval '20 seconds'"])
@pytest.mark.parametrize("media", POISON, ids=lambda media: media[:12])
async def test_one_row_that_no_parser_takes_does_not_hold_up_the_messages_of_others(db, tenants, parts, media, due):
    good = row_in(db, "pending", tenants[1].connection_id, tenants[1].id)
    row = draft(tenants[0].connection_id, scheduled_at="DUE", media="MEDIA")
    body = json.dumps(row).replace('"MEDIA"', media).replace('"DUE"', json.dumps(one(db, f"select ({due})::text")))

    answer = tenants[0].http.post("/scheduled_messages", content=body, headers={"content-type": "application/json"})
    with suppress(psycopg.errors.CheckViolation):
        row_in(db, "pending", tenants[0].connection_id, None, media=media, scheduled_at=one(db, f"select {due}"))
    daemon = await parts()
    await daemon.scheduler.poll()
    await daemon.dispatcher.send_all()

    assert answer.status_code in (201, 400), answer.text
    assert status(db, good) == "sent"


MEDIA = json.dumps([{"url": "https://e.com/a.png", "note": "x" * 16_300}])


@pytest.mark.parametrize(
    ("text", "caption", "media"),
    [("x" * 8192, "x" * 8192, None), ("é" * 8192, None, None), ("", "é" * 8192, None), ("", None, MEDIA)],
    ids=["text and caption", "text alone", "caption alone", "media alone"],
)
async def test_a_flood_of_big_rows_is_read_in_portions(db, tenants, parts, text, caption, media):
    sql = """
        insert into scheduled_messages (connection_id, contact_id, message, caption, media, scheduled_at)
        select %s, '+919876500000', %s, %s, %s, now() from generate_series(1, 600)
    """
    db.execute(sql, (tenants[0].connection_id, text, caption, media))
    daemon = await parts()

    assert 400 < len(await daemon.store.get_pending()) < 600
    await daemon.scheduler.poll()

    assert one(db, "select count(*) from scheduled_messages where status = 'processing'") == 600


# An application may leave its broadcast tables open to its users, as the upstream one does.
@pytest.fixture
def open_tables(db):
    """The broadcast tables as they are there: no row level security, all rights for everybody."""
    tables = ("broadcast_jobs", "broadcast_messages")
    for table in tables:
        db.execute(f"alter table {table} disable row level security")
        db.execute(f"grant all on {table} to anon, authenticated")
    yield
    for table in tables:
        db.execute(f"revoke all on {table} from anon, authenticated")
        db.execute(f"alter table {table} enable row level security")


def test_as_another_tenant_a_forged_job_is_not_sent_where_the_tables_are_open(
    db, tenants, theirs, open_tables, service
):
    row = theirs("failed")
    http, job = tenants[0].http, {"connection_id": tenants[1].connection_id, "status": "queued", "recipient": "+1"}

    forged = http.post("/broadcast_jobs", json={**job, "scheduled_message_id": row, "available_at": "2026-01-01"})
    own = http.post("/broadcast_jobs", json=job, headers=RETURN)

    assert forged.status_code == 403
    assert own.status_code == 201
    turned = http.patch(
        "/broadcast_jobs", params={"id": f"eq.{own.json()[0]['id']}"}, json={"scheduled_message_id": row}
    )
    assert turned.status_code == 403
    assert (
        one(db, "select count(*) from broadcast_jobs where scheduled_message_id is not null and status = 'queued'") == 0
    )


@pytest.mark.parametrize("state", ["waiting", "sending"])
def test_as_another_tenant_a_job_is_neither_changed_nor_settled_where_the_tables_are_open(
    db, tenants, theirs, open_tables, state
):
    row = theirs(state)
    before, http = job_of(db, row), tenants[0].http
    of_the_row = {"params": {"scheduled_message_id": f"eq.{row}"}}

    for table, change in (
        ("broadcast_jobs", {"message": "Spoofed"}),
        ("broadcast_jobs", {"connection_id": tenants[0].connection_id}),
        ("broadcast_jobs", {"status": "completed"}),
        ("broadcast_messages", {"status": "sent"}),
        ("broadcast_messages", {"status": "failed", "error": "forged"}),
        ("broadcast_messages", {"scheduled_message_id": None}),
    ):
        assert http.patch(f"/{table}", json=change, **of_the_row).status_code == 403, change
    for table in ("broadcast_jobs", "broadcast_messages"):
        assert http.delete(f"/{table}", **of_the_row).status_code == 403
    assert (job_of(db, row), status(db, row)) == (before, "processing")


def test_as_the_node_worker_what_was_handed_over_is_told_and_nothing_else_where_the_tables_are_open(
    db, stack, tenants, theirs, open_tables
):
    row = theirs("handed over")
    job = str(job_of(db, row)["id"])
    headers = {"apikey": stack["SUPABASE_ANON_KEY"]}
    with httpx.Client(base_url=f"{stack['SUPABASE_URL']}/rest/v1", headers=headers, trust_env=False) as anon:

        def tell(table: str, key: str, **columns: object) -> int:
            return anon.patch(f"/{table}", params={key: f"eq.{job}"}, json=columns).status_code

        assert tell("broadcast_jobs", "id", status="active", progress=0) == 204
        assert tell("broadcast_jobs", "id", status="queued") == 401
        assert tell("broadcast_jobs", "id", connection_id="mine") == 401
        assert tell("broadcast_messages", "job_id", contact="910000000000") == 401
        assert (
            tell("broadcast_messages", "job_id", status="sent", sent_at="2026-01-01T00:00:00Z", message_id=None) == 204
        )
        assert tell("broadcast_jobs", "id", status="completed", progress=100, sent_count=1) == 204

    assert status(db, row) == "sent"
    assert message(db, row)["message_id"] == job


FORGED = {
    "text": "'forged'", "uuid": "gen_random_uuid()", "timestamptz": "'2001-01-01'", "int2": "9", "int4": "99",
    "float8": "99",
    "bool": "true", "jsonb": "'{\"forged\": 1}'", "_text": "array['forged']",
}  # fmt: skip
TOLD = {
    "status", "progress", "total_contacts", "sent_count", "failed_count", "skipped_count", "completed_at", "updated_at",
    "message_id", "message_ids", "error", "error_message", "sent_at", "data",
}  # fmt: skip


def tried_by_anon(roles, sql):
    """With what it is refused, or how many rows it has changed."""
    answer = roles.tried("anon", "", sql + " returning 1 as one")
    return answer if isinstance(answer, str) else len(answer)


@pytest.mark.parametrize("table", ["broadcast_jobs", "broadcast_messages"])
@pytest.mark.parametrize("state", ["handed over", "active"])
def test_as_the_node_worker_no_other_column_is_written_where_the_tables_are_open(
    db, roles, theirs, open_tables, state, table
):
    row = theirs(state)
    db.execute("update broadcast_jobs set isprivatemessage = false, is_group = false")
    names = "select column_name as name, udt_name as type from information_schema.columns where table_name = %s"
    for column in db.execute(names, (table,)).fetchall():
        if column["name"] not in TOLD:
            value = FORGED[column["type"]]
            sql = f"update {table} set {column['name']} = {value} where scheduled_message_id = '{row}'"
            assert tried_by_anon(roles, sql) == "42501", column["name"]


@pytest.mark.parametrize("state", ["waiting", "sending", "handed over", "active"])
def test_nobody_but_the_service_deletes_adds_or_takes_back_what_is_under_way_where_the_tables_are_open(
    db, roles, theirs, open_tables, state
):
    row = theirs(state)
    job = job_of(db, row)["id"]
    for table, key in (("broadcast_jobs", "id"), ("broadcast_messages", "job_id")):
        assert tried_by_anon(roles, f"delete from {table} where {key} = '{job}'") == "42501"
        for taken_back in ("queued", "sending", "handed_over"):
            sql = f"update {table} set status = '{taken_back}' where {key} = '{job}'"
            assert tried_by_anon(roles, sql) == "42501", taken_back
        copied = f"insert into {table} ({'connection_id' if key == 'id' else 'contact'}, scheduled_message_id)"
        assert tried_by_anon(roles, f"{copied} values ('x', '{row}')") == "42501"


def test_jobs_that_are_over_and_those_of_the_application_are_its_own_to_delete(db, roles, theirs, open_tables):
    row = theirs("sent")
    db.execute("insert into broadcast_jobs (connection_id, status) values ('own', 'active')")

    assert tried_by_anon(roles, f"delete from broadcast_jobs where scheduled_message_id = '{row}'") == 1
    assert tried_by_anon(roles, "delete from broadcast_jobs where connection_id = 'own'") == 1
    assert tried_by_anon(roles, "update broadcast_jobs set message = 'x' where connection_id = 'own'") == 1


def test_realtime_and_every_other_reader_under_a_users_role_sees_that_users_rows_alone(roles, db, tenants, theirs):
    """Realtime shows a change to those who may read the row by its key; of a deleted row it tells everybody the key."""
    their_row, mine = theirs(), row_in(db, "pending", tenants[0].connection_id, tenants[0].id)
    by_key = "select id::text from scheduled_messages where id = %s"

    assert roles.tried("authenticated", tenants[0].id, by_key, mine) == [{"id": mine}]
    assert roles.tried("authenticated", tenants[0].id, by_key, their_row) == []
    assert roles.tried("anon", "", by_key, their_row) == "42501"
    published = db.execute("""
        select tablename, relreplident from pg_publication_tables
        join pg_class on oid = to_regclass(schemaname || '.' || tablename)
        where pubname = 'supabase_realtime' order by tablename
    """).fetchall()
    tables = ["appointments", "campaign_runs", "campaigns", "scheduled_messages"]
    assert [row["tablename"] for row in published] == tables
    assert {row["relreplident"] for row in published} == {"d"}, "the old row of an update or a delete is its key"


def test_a_fenced_out_daemon_settles_nothing(db, theirs):
    row = theirs("sending")
    db.execute("update broadcast_jobs set lease_token = %s", (str(uuid4()),))
    job = job_of(db, row)
    forged = {"job_id": job["id"], "token": uuid4(), "verdict": "sent", "message_id": "forged"}

    assert record(db, forged)["fenced_out"] == [job["id"]]
    assert status(db, row) == "processing"
    answered(db, row, "sent")
    assert status(db, row) == "sent"


def test_a_job_of_another_row_does_not_settle_this_one(db, tenants, theirs):
    row, mine = theirs("sending"), row_in(db, "sending", tenants[0].connection_id, tenants[0].id)
    stray = str(uuid4())
    add_job(db, stray, row, "sending")

    db.execute("update broadcast_messages set status = 'sent' where job_id = %s", (stray,))

    assert (status(db, row), status(db, mine)) == ("processing", "processing")


def test_a_policy_that_was_there_before_does_not_widen_ours(db):
    names = {
        row["polname"]
        for row in db.execute("select polname from pg_policy where polrelid = 'scheduled_messages'::regclass")
    }

    ours = ("select", "insert", "update", "delete", "member")
    assert names == {f"scheduled_messages_{verb}_policy" for verb in ours}


def test_a_column_of_connections_that_bears_our_columns_name_changes_no_policy(db, tenants):
    add_connections(db, "theirs")
    db.execute("alter table connections add column connection_id text default 'theirs'")
    try:
        answer = tenants[0].http.post("/scheduled_messages", json=draft("theirs"))
        assert answer.status_code == 403
    finally:
        db.execute("alter table connections drop column connection_id")


@pytest.mark.parametrize("status", ["failed", "cancelled"])
def test_what_is_over_may_be_labelled_but_not_with_somebody_elses_connection(db, user, status):
    owner, stranger = user(), user()
    row = schedule(db, connection_id=owner.connection_id, created_by=owner.id, owner_id=owner.id, status="pending")
    db.execute("update scheduled_messages set status = %s, error = 'x' where id = %s", (status, row))

    for connection in (stranger.connection_id, "nowhere"):
        answer = owner.http.patch(
            "/scheduled_messages", params={"id": f"eq.{row}"}, json={"connection_id": connection, "caption": "x"}
        )
        assert answer.status_code == 403, answer.text

    assert message(db, row)["connection_id"] == owner.connection_id


async def test_rows_of_one_instant_are_listed_page_after_page(db, tenants, parts):
    """A page ends somewhere among them."""
    for _ in range(5):
        row_in(db, "pending", tenants[0].connection_id, tenants[0].id, scheduled_at="2026-01-01T00:00:00Z")
    store = (await parts()).store

    rows = await store.get_pending()

    assert len(rows) == 5
    for place, row in enumerate(rows):
        assert [later.id for later in await store.get_pending(after=row.place)] == [r.id for r in rows[place + 1 :]]
