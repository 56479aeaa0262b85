"""The state machine of sql/README.md, arrow by arrow, for each who may try one; told through the real API."""

import re
from uuid import uuid4

import httpx
import pytest

from tests.helpers.rows import message
from tests.sql.states import COMPLETE, STATES, add_job, answered, job_of, row_in, status

STATUSES = ("pending", "processing", "sent", "failed", "unconfirmed", "cancelled", "in_queue")
# What an owner's update of `status` makes of a row: the state that it then has, - where it is refused, = where it
# changes nothing, and neither withdraws a job nor counts as an edit.
OWNER = """
    from \\ to      pending    processing  sent  failed  unconfirmed  cancelled  in_queue
    pending        =          -           -     -       -            cancelled  -
    waiting        pending    =           -     -       -            cancelled  -
    in_queue       pending    -           -     -       -            cancelled  =
    failed         pending    -           -     =       -            -          -
    cancelled      pending    -           -     -       -            =          -
    sending        -          =           -     -       -            -          -
    handed over    -          =           -     -       -            -          -
    active         -          =           -     -       -            -          -
    sent           -          -           =     -       -            -          -
    unconfirmed    -          -           -     -       =            -          -
"""
DELETABLE = {"pending", "waiting", "in_queue", "failed", "cancelled", "sent", "unconfirmed"}
ON_THEIR_WAY = ("sending", "handed over", "active")


def arrows() -> list[tuple[str, str, str]]:
    """(state, wished status, resulting status or -)"""
    _, *body = OWNER.strip("\n").splitlines()
    rows = [re.split(r"\s{2,}", line.strip()) for line in body]
    return [(state, to, end) for state, *ends in rows for to, end in zip(STATUSES, ends, strict=True)]


def patch(client: httpx.Client, row: str, **columns: object) -> httpx.Response:
    return client.patch(
        "/scheduled_messages",
        params={"id": f"eq.{row}"},
        json=columns,
        headers={"prefer": "return=representation"},
    )


def refused(answer: httpx.Response) -> str:
    """The refusal's text, which must be fit for a toast: a sentence or two, of words."""
    assert answer.status_code == 409, f"{answer.status_code} {answer.text}"
    text = str(answer.json()["message"])
    assert re.fullmatch(r"[A-Z][\w ,.'-]{10,120}\.", text), text
    return text


@pytest.fixture
def mine(db, tenants):
    """mine("failed"): a row of the first tenant's in that state."""
    owner, _ = tenants
    return lambda state, **columns: row_in(db, state, owner.connection_id, owner.id, **columns)


def test_every_arrow_that_an_owner_may_try_leads_where_it_is_drawn_or_is_refused(db, tenants, mine):
    assert {state for state, _, _ in arrows()} == set(STATES)
    for state, to, end in arrows():
        row = mine(state)

        answer = patch(tenants[0].http, row, status=to)

        if end == "-":
            assert refused(answer), f"{state} to {to}"
            assert status(db, row) == STATES[state][0]
            assert message(db, row)["revision"] == 0
        else:
            assert answer.is_success, f"{state} to {to}: {answer.text}"
            after = STATES[state][0] if end == "=" else end
            assert answer.json()[0]["status"] == status(db, row) == after, f"{state} to {to}"
            assert message(db, row)["revision"] == (0 if end == "=" else 1)


def test_refusals_say_what_to_do(tenants, mine):
    http = tenants[0].http

    assert "already sent" in refused(patch(http, mine("sent"), status="pending"))
    assert "operator" in refused(patch(http, mine("unconfirmed"), status="pending"))
    assert "being sent right now" in refused(patch(http, mine("sending"), status="cancelled"))
    assert "cannot be made sent" in refused(patch(http, mine("pending"), status="sent"))


@pytest.mark.parametrize("state", ["pending", "waiting", "in_queue", "failed", "cancelled"])
def test_as_the_owner_the_dialogs_edit_is_a_retry_with_all_that_it_says(db, tenants, mine, state):
    row = mine(state, error="An old reason.")
    edit = {
        "connection_id": tenants[0].connection_id, "message": "New", "type": "image", "media_url": "https://example.com/a.png",
        "caption": "New", "scheduled_at": "2030-01-01T00:00:00+00:00", "status": "pending", "is_recurring": True,
        "recurrence_pattern": "monthly", "next_scheduled_at": "2030-02-01T00:00:00+00:00", "asset_id": None,
    }  # fmt: skip

    assert patch(tenants[0].http, row, **edit).is_success

    now = message(db, row)
    assert {name: now[name] for name in ("status", "message", "type", "recurrence_pattern")} == {
        name: edit[name] for name in ("status", "message", "type", "recurrence_pattern")
    }
    assert (now["error"], now["broadcast_job_id"], now["sent_at"], now["message_id"]) == (None, None, None, None)
    assert now["revision"] == 1


@pytest.mark.parametrize("edit", [{"message": "New"}, {"status": "pending"}, {"status": "cancelled"}])
def test_as_the_owner_an_edit_withdraws_the_job_that_waits(db, tenants, mine, edit):
    row = mine("waiting")

    assert patch(tenants[0].http, row, **edit).is_success

    job = job_of(db, row)
    if edit.get("status") == "cancelled":
        assert (job["status"], job["message_status"]) == ("cancelled", "cancelled")
    else:
        assert job == {}, "what the old text was and to whom it went is gone"
    assert status(db, row) == edit.get("status", "pending")


@pytest.mark.parametrize("state", ON_THEIR_WAY)
def test_as_the_owner_what_is_on_its_way_is_neither_edited_nor_deleted(db, tenants, mine, state):
    row = mine(state)
    before = message(db, row), job_of(db, row)

    refused(patch(tenants[0].http, row, message="New"))
    refused(patch(tenants[0].http, row, status="cancelled"))
    refused(tenants[0].http.delete("/scheduled_messages", params={"id": f"eq.{row}"}))

    assert (message(db, row), job_of(db, row)) == before


def test_as_the_owner_nothing_of_a_bulk_edit_happens_when_one_of_its_rows_is_being_sent(db, tenants, mine):
    rows = [mine("pending"), mine("sending"), mine("pending")]

    refused(tenants[0].http.patch("/scheduled_messages", params={"contact_id": "neq.x"}, json={"message": "New"}))

    assert {message(db, row)["message"] for row in rows} == {"Hello"}


def test_as_the_owner_everything_that_is_not_being_sent_is_deletable(db, tenants, mine):
    for state in STATES:
        row = mine(state)
        tenants[0].http.delete("/scheduled_messages", params={"id": f"eq.{row}"})
        left = db.execute("select from scheduled_messages where id = %s", (row,)).fetchone()
        assert (left is None) == (state in DELETABLE), state
        assert (job_of(db, row) == {}) == (left is None or STATES[state][1] is None), state


def test_as_the_owner_a_cancelled_message_of_which_the_job_is_still_under_way_cannot_go_out_twice(db, tenants, mine):
    row = mine("cancelled")
    db.execute("update broadcast_jobs set status = 'sending' where scheduled_message_id = %s", (row,))

    assert "being sent" in refused(patch(tenants[0].http, row, status="pending"))


def test_as_the_owner_a_new_message_starts_as_pending_and_nothing_else(tenants):
    row = {
        "connection_id": tenants[0].connection_id,
        "contact_id": "1",
        "message": "Hello",
        "scheduled_at": "2030-01-01",
    }

    assert tenants[0].insert(**row, status="pending")["status"] == "pending"
    for wrong in set(STATUSES) - {"pending"}:
        refused(tenants[0].http.post("/scheduled_messages", json={**row, "status": wrong}))


def test_as_another_tenant_no_arrow_exists(db, tenants, mine):
    for state in STATES:
        row = mine(state)
        for to in STATUSES:
            assert patch(tenants[1].http, row, status=to).json() == []
        assert tenants[1].http.delete("/scheduled_messages", params={"id": f"eq.{row}"}).is_success
        assert (status(db, row), message(db, row)["revision"]) == (STATES[state][0], 0)


def test_as_the_service_every_arrow_exists_but_those_that_would_send_twice(db, service, mine):
    """Into `in_queue`, where nobody or somebody else sends it, goes only what still waits."""
    for state, (was, _) in STATES.items():
        for to in STATUSES:
            row = mine(state)
            answer = patch(service, row, status=to, **COMPLETE.get(to, {}))
            assert answer.is_success, f"{state} to {to}: {answer.text}"
            stays = (state in ON_THEIR_WAY and to == "pending") or (to == "in_queue" and was not in (to, "pending"))
            assert status(db, row) == (was if stays else to), f"{state} to {to}"
        assert service.delete("/scheduled_messages", params={"id": f"eq.{mine(state)}"}).is_success


def test_as_the_service_a_job_that_waits_goes_with_the_row_that_is_taken_back(db, service, mine):
    row = mine("waiting")
    assert patch(service, row, status="cancelled").is_success
    assert job_of(db, row)["status"] == "cancelled"
    row = mine("waiting")
    assert patch(service, row, status="pending").is_success
    assert job_of(db, row) == {}
    row = mine("waiting")
    assert service.delete("/scheduled_messages", params={"id": f"eq.{row}"}).is_success
    assert job_of(db, row) == {}


def test_every_edit_that_leaves_a_row_pending_raises_its_revision_whoever_makes_it(db, tenants, service, mine):
    row = mine("pending")
    for number, client in enumerate((tenants[0].http, service, tenants[0].http, service), 1):
        assert patch(client, row, message=f"Edit {number}").json()[0]["revision"] == number
    db.execute("update scheduled_messages set caption = 'by hand' where id = %s", (row,))
    assert message(db, row)["revision"] == 5


def test_as_the_daemon_its_own_writes_are_no_edits(db, mine):
    row = mine("sending")

    answered(db, row, "sent")

    assert (status(db, row), message(db, row)["revision"]) == ("sent", 0)


@pytest.mark.parametrize(
    ("outcome", "end", "job"),
    [
        ("sent", "sent", "completed"),
        ("unconfirmed", "unconfirmed", "unconfirmed"),
        ("failed", "cancelled", "failed"),
        ("retry", "cancelled", "cancelled"),
        ("released", "cancelled", "cancelled"),
    ],
)
def test_what_is_cancelled_while_it_is_sent_tells_the_truth_and_is_not_tried_again(
    db, service, mine, outcome, end, job
):
    row = mine("sending")
    assert patch(service, row, status="cancelled").is_success

    answered(db, row, outcome)

    assert (status(db, row), job_of(db, row)["status"]) == (end, job)


def test_what_is_deleted_while_it_is_sent_is_not_tried_again(db, service, mine):
    row = mine("sending")
    assert service.delete("/scheduled_messages", params={"id": f"eq.{row}"}).is_success

    answered(db, row, "retry")

    assert job_of(db, row)["status"] == "cancelled"


def test_a_hand_over_of_a_cancelled_message_is_not_added_again(db, service, mine):
    wanted, cancelled = mine("handed over"), mine("handed over")
    assert patch(service, cancelled, status="cancelled").is_success
    db.execute("update broadcast_jobs set lease_until = now() - interval '1 second'")

    db.execute("select rescue_broadcast_jobs()")

    assert (job_of(db, wanted)["status"], job_of(db, cancelled)["status"]) == ("handed_over", "cancelled")


def test_a_hand_over_whose_row_has_another_job_by_now_is_not_added_again(db, mine):
    row, new = mine("handed over"), str(uuid4())
    old = job_of(db, row)["id"]
    add_job(db, new, row, "queued")
    db.execute("update scheduled_messages set broadcast_job_id = %s where id = %s", (new, row))
    db.execute("update broadcast_jobs set lease_until = now() - interval '1 second' where id = %s", (old,))

    [told] = db.execute("select hand_overs from rescue_broadcast_jobs()").fetchall()

    assert told["hand_overs"] is None
    states = db.execute("select id, status from broadcast_jobs").fetchall()
    assert {str(job["id"]): job["status"] for job in states} == {str(old): "cancelled", new: "queued"}


def test_only_the_current_job_of_a_row_settles_it(db, mine):
    row = mine("sending")
    old = job_of(db, row)["id"]
    new = str(uuid4())
    add_job(db, new, row, "queued")
    db.execute("update scheduled_messages set broadcast_job_id = %s where id = %s", (new, row))

    db.execute("update broadcast_messages set status = 'sent' where job_id = %s", (old,))

    assert status(db, row) == "processing"


def test_an_edit_of_the_time_starts_a_series_anew_and_any_other_edit_does_not(tenants, mine):
    series = {"is_recurring": True, "recurrence_pattern": "daily", "series_id": "5" * 8 + "-0000-4000-8000-" + "5" * 12}
    anchored = {**series, "series_anchor": "2026-01-01T09:00:00", "occurrence_at": "2026-01-01T09:00:00Z"}
    row = mine("pending", **anchored)

    kept = patch(tenants[0].http, row, message="New").json()[0]
    moved = patch(tenants[0].http, row, scheduled_at="2030-01-01T00:00:00Z").json()[0]

    assert kept["series_anchor"] is not None
    assert (moved["series_anchor"], moved["occurrence_at"]) == (None, None)


@pytest.mark.parametrize("writer", ["the owner", "the service"])
async def test_a_message_that_is_tried_again_tells_nothing_of_the_time_before(
    db, tenants, service, mine, parts, writer
):
    """Nor does the row say of the second message what WhatsApp told of the first."""
    before = {"sent_at": "2026-01-01", "message_id": "true_1", "error": "Not delivered.", "delivery_status": "failed"}
    row = mine("failed", **before, waiting_reason="its turn", waiting_until="2026-01-01")

    assert patch(tenants[0].http if writer == "the owner" else service, row, status="pending").is_success
    told = [*before, "waiting_reason", "waiting_until", "broadcast_job_id"]
    assert {name: message(db, row)[name] for name in told} == dict.fromkeys(told)

    daemon = await parts()
    await daemon.scheduler.poll()
    await daemon.dispatcher.send_all()
    assert (status(db, row), message(db, row)["delivery_status"]) == ("sent", None)


def test_as_the_owner_what_is_cancelled_says_no_longer_why_it_waits(db, tenants, mine):
    row = mine("waiting", error="try 2 of 3: Busy", waiting_reason="its turn", waiting_until="2026-01-01")

    assert patch(tenants[0].http, row, status="cancelled").is_success

    after = message(db, row)
    assert (after["status"], after["error"], after["waiting_reason"], after["waiting_until"]) == (
        "cancelled", None, None, None,
    )  # fmt: skip


def test_what_the_operator_may_settle_is_what_nobody_else_will(db, mine):
    """Every state, also one in which the Node worker has begun and was never heard of again."""
    for state in STATES:
        for outcome, becomes in (("sent", "sent"), ("failed", "failed"), ("resend", "pending")):
            row = mine(state)
            job = job_of(db, row)

            found = db.execute("select * from resolve_scheduled_message(%s, %s)", (row, outcome)).fetchall()

            if state in ("unconfirmed", "handed over", "active"):
                assert (len(found), status(db, row)) == (1, becomes), state
                assert job_of(db, row).get("lease_token") != job["lease_token"], "who still has it is fenced out"
            else:
                assert (found, status(db, row), job_of(db, row)) == ([], STATES[state][0], job), state
