"""What became of messages, by run and by day."""

from tests.helpers import calls
from tests.helpers.plans import nodes, read
from tests.helpers.zones import where_it_is_noon
from tests.sources.conftest import Shop, join
from tests.sources.test_retries import counts


def tell(shop: Shop, status: str, positions: list[int]) -> None:
    """WhatsApp tells of those of a run, as a webhook hears it."""
    jobs = shop.db.execute(
        "select broadcast_job_id as id, message_id from scheduled_messages where source_position = any(%s)",
        (positions,),
    ).fetchall()
    assert len(jobs) == len(positions)
    calls.tell(shop.db, *(
        {"job_id": job["id"], "message_id": job["message_id"], "status": status, "error": None} for job in jobs
    ))  # fmt: skip


async def test_delivered_and_read_are_counted_by_run_as_receipts_come_in_any_order_and_twice(shop, forward):
    shop.settings(timezone=where_it_is_noon())
    shop.contacts(6)
    campaign = shop.campaign()
    await forward()
    told = []
    for status, positions in (
        ("delivered", [1, 2, 3]), ("read", [3, 4]), ("delivered", [3, 4]), ("read", [3]), ("sent", [1, 5]),
        ("failed", [6]),
    ):  # fmt: skip
        tell(shop, status, positions)
        run = shop.run(campaign)
        told.append((run["delivered"], run["read"]))

    assert told == [(3, 0), (4, 2), (4, 2), (4, 2), (4, 2), (4, 2)]
    run = shop.run(campaign)
    assert (run["status"], counts(run)) == ("completed", {"sent": 6})
    [day] = shop.user.http.get("/daily_outcomes").json()
    assert (day["sent"], day["delivered"], day["read"]) == (6, 4, 2)


async def test_what_came_back_undelivered_counts_towards_stopping(shop, forward):
    shop.contacts(200)
    campaign = shop.campaign()
    shop.settings(messages=1, period_seconds=1)
    await forward(send=False)
    shop.db.execute(
        "update scheduled_messages set status = 'sent', sent_at = now(), message_id = 'x', delivery_status = 'failed', "
        "error = 'Accepted, but not delivered.' where status = 'pending'"
    )
    await forward(send=False)
    assert "of its last 100 messages 100 failed" in shop.seen(campaign)["status_reason"]


def write(shop: Shop, *rows: tuple[str, str, str | None]) -> None:
    """Messages by status, due time and when they went out."""
    for status, due, sent in rows:
        shop.db.execute(
            """
            insert into scheduled_messages
                (connection_id, owner_id, contact_id, message, status, scheduled_at, sent_at, message_id, error)
            values (%s, %s, '+919876500000', 'x', %s, %s, %s, 'x', case when %s <> 'sent' then 'y' end)
            """,
            (shop.connection, shop.user.id, status, due, sent, status),
        )


def days(shop: Shop, **params: str) -> list[tuple]:
    rows = shop.user.http.get("/daily_outcomes", params={"order": "day", **params}).json()
    return [(row["day"], row["sent"], row["failed"], row["unconfirmed"]) for row in rows]


def test_days_are_the_connections_own_and_of_what_went_out_the_day_it_did(shop, other_shop, staff_and_admin):
    write(
        shop, ("sent", "2026-03-01T18:29:00Z", "2026-03-01T18:29:30Z"),
        ("sent", "2026-03-01T10:00:00Z", "2026-03-02T10:00:00Z"),
        ("failed", "2026-03-01T18:31:00Z", None), ("unconfirmed", "2026-03-01T00:00:00Z", None),
        ("pending", "2026-03-01T00:00:00Z", None), ("cancelled", "2026-03-01T00:00:00Z", None),
    )  # fmt: skip
    assert days(shop) == [("2026-03-01", 1, 1, 1), ("2026-03-02", 1, 0, 0)]
    shop.user.insert("connection_settings", connection_id=shop.connection, timezone="Asia/Kolkata")
    assert days(shop) == [("2026-03-01", 1, 0, 1), ("2026-03-02", 1, 1, 0)]
    assert days(shop, day="gte.2026-03-02") == [("2026-03-02", 1, 1, 0)]
    assert days(other_shop) == []
    staff, _ = staff_and_admin
    assert staff.http.get("/daily_outcomes").json() == []
    join(shop, staff, "staff")
    assert len(staff.http.get("/daily_outcomes").json()) == 2


def test_asked_for_one_connection_it_reads_that_ones_messages_alone(shop):
    shop.db.execute(
        """
        insert into scheduled_messages
            (connection_id, owner_id, contact_id, message, status, scheduled_at, sent_at, message_id)
        select case when n > 30 then 'another' else %s end, %s, '+919876500000', 'x', 'sent', now(), now(), 'x'
        from generate_series(1, 20000) as n
        """,
        (shop.connection, shop.user.id),
    )
    shop.db.execute("analyze scheduled_messages")
    with shop.db.transaction():
        shop.db.execute("select set_config('request.jwt.claim.sub', %s, true)", (shop.user.id,))
        shop.db.execute("set local role authenticated")
        sql = "explain (analyze, format json) select * from daily_outcomes where connection_id = %s"
        [plan] = shop.db.execute(sql, (shop.connection,)).fetchall()
    of_messages = [
        node for node in nodes(plan["QUERY PLAN"][0]["Plan"]) if node.get("Relation Name") == "scheduled_messages"
    ]
    assert sum(read(node) for node in of_messages) == 30
