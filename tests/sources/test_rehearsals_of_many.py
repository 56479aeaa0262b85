"""Rehearsals beside everything else: whose turn it is, how much one owner may ask for, and what goes again."""

from tests.helpers.polling import until
from tests.sources.conftest import DRAFT, soon


async def test_owners_take_turns_a_portion_each(shop, other_shop, parts, db):
    for one in (shop, other_shop):
        one.contacts(2500)
    campaigns = [one.campaign(**DRAFT) for one in (shop, shop, other_shop)]
    for one, campaign in zip((shop, shop, other_shop), campaigns, strict=True):
        one.rehearse(campaign)
    daemon = await parts()
    rules = daemon.sources.rehearsals.numbers.rules
    turns: list[tuple[str, int]] = []
    for _ in range(40):
        db.execute("update private.rehearsal_turns set turn_at = turn_at - interval '1 second'")
        turn = await daemon.sources.rehearsals.rehearsals.take()
        if not turn.campaign_id:
            break
        portion = await daemon.sources.rehearsals.rehearsals.advance(turn.campaign_id, rules, "mock", None, 1000)
        if portion.to_judge:
            await daemon.sources.rehearsals.numbers.judge(portion.country_code, portion.to_judge)
        owner = "other" if turn.campaign_id == campaigns[2]["id"] else "one"
        turns.append((owner, portion.worked))

    assert max(worked for _, worked in turns) == 1000
    both = turns[: 2 * sum(owner == "other" for owner, _ in turns)]
    assert [owner for owner, _ in both] == ["one", "other"] * (len(both) // 2)
    assert [one.rehearsal(c)["total"] for one, c in zip((shop, shop, other_shop), campaigns, strict=True)] == [2500] * 3


async def test_nobody_can_keep_the_daemon_busy(shop, other_shop, db, parts):
    shop.contacts(1200)
    campaigns = [shop.campaign(**DRAFT, name=f"{n}") for n in range(21)]
    for campaign in campaigns[:20]:
        shop.rehearse(campaign)
    answer = shop.user.http.post("/campaign_rehearsals", json={"campaign_id": campaigns[20]["id"]})
    assert (answer.status_code, "Wait until one of them" in answer.json()["message"]) == (429, True)

    # What one owner may have worked out in an hour, here a thousand: the rest waits, and says so.
    daemon = await parts()
    calls, rules = daemon.sources.rehearsals.rehearsals._calls, daemon.sources.rehearsals.numbers.rules
    await daemon.sources.rehearsals.numbers.judge("", [f"+9198765{n:05}" for n in range(1200)])
    first = await calls.row("take_rehearsal", {"p_most_an_hour": 1000}, lambda row: row)
    asked = {"p_campaign_id": first["campaign_id"], "p_rules_version": rules, "p_limit": 1000, "p_most_an_hour": 1000}
    await calls.row("advance_rehearsal", asked, lambda row: row)
    assert (
        "1000 recipients were rehearsed in this hour" in shop.rehearsal({"id": first["campaign_id"]})["waiting_reason"]
    )
    db.execute("update private.rehearsal_turns set turn_at = '-infinity', hour = date_trunc('hour', now())")
    other_shop.contacts(1)
    theirs = other_shop.campaign(**DRAFT)
    other_shop.rehearse(theirs)
    turns = [await calls.row("take_rehearsal", {"p_most_an_hour": 1000}, lambda row: row) for _ in range(2)]
    assert [turn["campaign_id"] for turn in turns] == [theirs["id"], None]

    db.execute("update private.rehearsal_turns set turn_at = '-infinity', hour = hour - interval '1 hour'")
    assert (await calls.row("take_rehearsal", {"p_most_an_hour": 1000}, lambda row: row))["campaign_id"]


async def test_one_that_the_database_refuses_ends_alone(shop, other_shop, rehearsed):
    for one in (shop, other_shop):
        one.contacts(1)
    broken, good = shop.campaign(**DRAFT), other_shop.campaign(**DRAFT)
    shop.rehearse(broken)
    other_shop.rehearse(good)
    with shop.unguarded():
        shop.db.execute("update campaigns set audience = '{\"labels\": 1}' where id = %s", (broken["id"],))

    await rehearsed()

    assert "the database refused it" in shop.rehearsal(broken)["waiting_reason"]
    assert other_shop.rehearsal(good)["total"] == 1


async def test_lines_that_nobody_sees_any_more_go_and_so_do_old_rehearsals(shop, rehearsed, db):
    shop.contacts(700)
    campaign = shop.campaign(**DRAFT)
    shop.rehearse(campaign)
    shop.set(campaign, message="Bye")
    shop.rehearse(campaign)
    await rehearsed()
    await rehearsed()
    count = "select count(*) as n from campaign_rehearsal_lines"
    assert db.execute(count).fetchone()["n"] == 700

    with shop.unguarded():
        db.execute("update campaign_rehearsals set requested_at = now() - interval '25 hours'")
    for _ in range(3):
        await rehearsed()
    assert db.execute(count).fetchone()["n"] == 0
    assert shop.user.http.get("/campaign_rehearsals").json() == []


async def test_a_page_reads_its_own_lines_and_no_others(shop, rehearsed, db, size):
    """Of 100,000 (with --long) a page of 50 reads 50."""
    shop.contacts(1)
    campaign = shop.campaign(**DRAFT)
    head = shop.rehearse(campaign)
    await rehearsed()
    db.execute(
        """
        insert into campaign_rehearsal_lines (lines_id, position, name, address, variables)
        select lines.id, n, 'x', '+9198' || lpad(n::text, 8, '0'), '{"name": "x"}'
        from generate_series(2, %s) as n, unnest(array[%s::uuid, gen_random_uuid()]) as lines (id)
        """,
        (size(100_000), head["lines_id"]),
    )
    db.execute("analyze campaign_rehearsal_lines")
    read = """
        select seq_tup_read + idx_tup_fetch as n from pg_stat_xact_user_tables
        where relname = 'campaign_rehearsal_lines'
    """
    with db.transaction():
        before = db.execute(read).fetchone()["n"] or 0
        db.execute("select set_config('request.jwt.claim.sub', %s, true)", (shop.user.id,))
        db.execute("set local role authenticated")
        page = db.execute(
            "select * from rehearse_campaign(%s, %s, 50)", (campaign["id"], size(100_000) - 60)
        ).fetchall()
        db.execute("reset role")
        after = db.execute(read).fetchone()["n"]

    assert len(page) == 50
    assert after - before <= 60


def test_a_message_that_falls_due_meanwhile_does_not_wait_for_a_rehearsal(shop, other_shop, db, daemon):
    shop.contacts(8_000)
    campaign = shop.campaign(**DRAFT)
    shop.rehearse(campaign)
    daemon().until_said("started")
    until(lambda: shop.rehearsal(campaign)["progress"] > 500, 30)
    for n in range(20):
        other_shop.user.insert(
            connection_id=other_shop.connection, contact_id=f"+9198765{n:05}", message="Hi", scheduled_at=soon(0)
        )

    until(lambda: shop.rehearsal(campaign)["finished_at"], 60)

    assert shop.rehearsal(campaign)["total"] == 8_000
    late = "select count(*) as n from scheduled_messages, campaign_rehearsals where sent_at > finished_at"
    assert db.execute(late).fetchone()["n"] == 0
    assert {m["status"] for m in other_shop.user.http.get("/scheduled_messages").json()} == {"sent"}
