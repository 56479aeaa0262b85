"""What one owner may have waiting: what is beyond it is refused with words, and nobody else notices."""

from datetime import UTC, datetime, timedelta

import httpx
import psycopg
import pytest

from tests.helpers.rows import one

SOON = datetime(2031, 3, 4, 5, 6, 30, tzinfo=UTC)


@pytest.fixture(autouse=True)
def limits(db):
    """Ten rows waiting, four of them in one minute."""
    read = "select private.limit_of(%s)"
    assert [one(db, read, f"max_{name}") for name in ("pending_per_owner", "due_per_minute")] == [200_000, 50_000]
    db.execute("insert into private.limits values ('max_pending_per_owner', 10), ('max_due_per_minute', 4)")


def rows(user, number, at=SOON, step=60.0):
    return [
        {
            "connection_id": user.connection_id,
            "contact_id": "+919876543210",
            "message": f"Message {n}",
            "scheduled_at": (at + timedelta(seconds=n * step)).isoformat(),
        }
        for n in range(number)
    ]


def post(user, number, **when) -> httpx.Response:
    return user.http.post("/scheduled_messages", json=rows(user, number, **when))


def count(db) -> int:
    return one(db, "select count(*) from scheduled_messages")


@pytest.mark.parametrize("sizes", [(11,), (10, 1), (4, 4, 3), (1,) * 11])
def test_no_more_rows_wait_than_the_limit(db, user, sizes):
    ben, at = user(), SOON
    answers = []
    for size in sizes:
        answers.append(post(ben, size, at=at))
        at += timedelta(minutes=size)
    assert [answer.status_code for answer in answers] == [201] * (len(sizes) - 1) + [429]
    assert "More than 10 of your messages" in answers[-1].json()["message"]
    assert count(db) == sum(sizes[:-1])


@pytest.mark.parametrize("sizes", [(5,), (4, 1), (1, 2, 2)])
def test_no_more_rows_are_due_in_one_minute_than_the_limit(db, user, sizes):
    ben = user()
    answers = [post(ben, size, step=1.0) for size in sizes]
    assert [answer.status_code for answer in answers] == [201] * (len(sizes) - 1) + [429]
    assert "2031-03-04 05:06 UTC" in answers[-1].json()["message"]
    assert count(db) == sum(sizes[:-1])
    assert post(ben, 4, at=SOON + timedelta(seconds=30), step=1.0).status_code == 201


def patch(user, where, **columns) -> httpx.Response:
    return user.http.patch("/scheduled_messages", params=where, json=columns)


def test_nor_do_edits_bring_more_into_a_minute(db, user):
    ben = user()
    assert post(ben, 8).status_code == 201  # one a minute
    late = {"scheduled_at": f"gt.{(SOON + timedelta(minutes=4)).isoformat()}"}
    crowded = patch(ben, {}, scheduled_at=SOON.isoformat())
    assert crowded.status_code == 429
    assert "2031-03-04 05:06 UTC" in crowded.json()["message"]
    assert patch(ben, late, scheduled_at=SOON.isoformat()).status_code == 204  # three beside the first
    assert patch(ben, {"message": "eq.Message 1"}, scheduled_at=SOON.isoformat()).status_code == 429
    assert patch(ben, {"message": "eq.Message 1"}, scheduled_at="2031-03-04T07:00:00Z").status_code == 204
    assert one(db, "select count(*) from scheduled_messages where scheduled_at = %s", SOON) == 4


def test_nor_do_edits_set_more_pending_again(db, user):
    ben = user()
    assert post(ben, 10).status_code == 201
    db.execute("update scheduled_messages set status = 'failed', error = 'Busy.'")
    assert post(ben, 8, at=SOON + timedelta(hours=1)).status_code == 201
    failed = {"status": "eq.failed"}
    assert patch(ben, failed, status="pending").status_code == 429
    for number in range(2):
        assert patch(ben, failed | {"message": f"eq.Message {number}"}, status="pending").status_code == 204
    assert patch(ben, failed | {"message": "eq.Message 2"}, status="pending").status_code == 429
    assert one(db, "select count(*) from scheduled_messages where status = 'pending'") == 10


def test_what_is_there_already_stays_and_may_be_edited_and_cancelled(db, user):
    ben = user()
    assert post(ben, 4, step=1.0).status_code == 201
    db.execute("update private.limits set value = 2")
    for _ in range(3):
        assert patch(ben, {}, message="Other").status_code == 204
    assert patch(ben, {"message": "eq.Other"}, scheduled_at=(SOON + timedelta(seconds=9)).isoformat()).is_success
    assert patch(ben, {}, status="cancelled").status_code == 204


def test_another_owner_has_a_limit_of_their_own(user):
    ben, ada = user(), user()
    assert post(ben, 10).status_code == 201
    assert post(ben, 1).status_code == 429
    assert post(ada, 10).status_code == 201


@pytest.mark.parametrize(
    "leave",
    [
        "update scheduled_messages set status = 'cancelled'",
        "delete from scheduled_messages",
        "update scheduled_messages set status = 'sent', sent_at = now(), message_id = 'm'",
    ],
)
def test_what_does_not_wait_any_more_makes_room(db, user, leave):
    ben = user()
    assert post(ben, 10).status_code == 201
    db.execute(leave)
    assert post(ben, 10).status_code == 201
    assert post(ben, 1, at=SOON + timedelta(hours=1)).status_code == 429


def test_a_refused_request_and_one_that_is_rolled_back_count_for_nothing(db, user):
    ben = user()
    for _ in range(3):
        assert post(ben, 11).status_code == 429
    assert post(ben, 10).status_code == 201
    assert count(db) == 10


def test_an_upsert_of_one_s_own_rows_is_no_more_rows(user):
    ben = user()
    answer = ben.http.post("/scheduled_messages", json=rows(ben, 10), headers={"prefer": "return=representation"})
    kept = ("id", "connection_id", "contact_id", "message", "scheduled_at")
    again = ben.http.post(
        "/scheduled_messages",
        json=[{name: row[name] for name in kept} for row in answer.json()],
        headers={"prefer": "resolution=merge-duplicates"},
    )
    assert again.status_code in (200, 201), again.text


def test_the_service_key_is_not_held_back(db, user):
    ben = user()
    db.execute(
        "insert into scheduled_messages (connection_id, contact_id, message, scheduled_at, owner_id)"
        " select 'shop', '+919876543210', 'x', %s, %s from generate_series(1, 20)",
        (SOON, ben.id),
    )
    assert count(db) == 20
    assert one(db, "select count(*) from private.owner_load") == 0


def test_nobody_waits_for_another_owner_s_open_transaction(db, stack, user):
    """Ben inserts and does not end his transaction; Ada's insert goes through."""
    ben, ada = user(), user()
    with psycopg.connect(stack["DATABASE_URL"]) as hung:
        hung.execute("select set_config('request.jwt.claim.sub', %s, true)", (ben.id,))
        hung.execute("select set_config('request.jwt.claims', %s, true)", (f'{{"sub": "{ben.id}"}}',))
        hung.execute("set local role authenticated")
        hung.execute(
            "insert into scheduled_messages (connection_id, contact_id, message, scheduled_at)"
            " values (%s, '+919876543210', 'x', %s)",
            (ben.connection_id, SOON),
        )
        assert post(ada, 5).status_code == 201
        hung.rollback()


def test_what_is_far_in_the_past_is_forgotten(db, user):
    ben = user()
    db.execute("insert into private.owner_load values (%s, now() - interval '1 day', 3)", (ben.id,))
    assert post(ben, 2).status_code == 201
    assert one(db, "select count(*) from private.owner_load where minute > '-infinity' and minute < now()") == 0


@pytest.mark.parametrize("by", [timedelta(minutes=1), -timedelta(minutes=1)], ids=["the next", "the one before"])
def test_what_is_counted_again_is_its_own_minute_and_stays_counted(db, user, by):
    """One of a full minute is deleted: there is room for one, whatever the neighbouring minute holds."""
    ben = user()
    assert post(ben, 4, step=1.0).status_code == 201
    assert post(ben, 3, at=SOON + by, step=1.0).status_code == 201
    db.execute("delete from scheduled_messages where scheduled_at = %s", (SOON,))
    assert [post(ben, 1).status_code for _ in range(3)] == [201, 429, 429]
    assert [post(ben, 1, at=SOON + by).status_code for _ in range(2)] == [201, 429]


def test_what_is_counted_again_in_all_stays_counted(db, user):
    ben = user()
    assert post(ben, 10).status_code == 201
    db.execute("delete from scheduled_messages where scheduled_at in (%s, %s)", (SOON, SOON + timedelta(minutes=1)))
    answers = [post(ben, 1, at=SOON + timedelta(hours=1 + n)).status_code for n in range(4)]
    assert answers == [201, 201, 429, 429]
