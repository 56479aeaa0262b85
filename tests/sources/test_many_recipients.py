"""A campaign to very many, unpaced, by a daemon as a process: each once, and counts that are right at every look."""

from typing import Any

from tests.conftest import is_long
from tests.helpers.polling import until
from tests.helpers.rows import Database, one
from tests.sources.conftest import Shop, soon

SIX = ("pending", "sent", "failed", "unconfirmed", "skipped", "cancelled")
# What the run's row says, with the differences that are put down and not yet added up (ADR 30), and what the rows are:
# of one instant.
LOOK = """
    select to_jsonb(run) as run, (
        select coalesce(sum(tally.sent), 0)::integer from private.run_tallies as tally where tally.run_id = run.id
    ) as put_down, (
        select coalesce(jsonb_object_agg(counted.status, counted.number), '{}') from (
            select message.status, count(*) as number from scheduled_messages as message
            where message.source_id = run.id group by message.status
        ) as counted
    ) as messages
    from campaign_runs as run
"""


def look(db: Database) -> dict[str, Any] | None:
    """The run, if there is one; fails where its counts are not those of its messages, or not all who are frozen."""
    row = db.execute(LOOK).fetchone()
    if row is None:
        return None
    run, messages = row["run"], row["messages"]
    sent, waiting = messages.get("sent", 0), messages.get("pending", 0) + messages.get("processing", 0)
    assert sum(run[name] for name in SIX) == run["frozen_position"], run
    assert run["total"] in (None, run["frozen_position"]), run
    assert run["sent"] + row["put_down"] == sent, row
    assert run["pending"] - row["put_down"] == waiting + run["unmade"], row
    return run


def test_each_gets_one_and_the_counts_are_right_at_every_look(shop: Shop, db: Database, daemon):
    """100,000 with --long."""
    count = 100_000 if is_long() else 3_000
    db.execute(
        """
        insert into contacts (owner_id, phone_number, contact_name, labels)
        select %s, '+919' || lpad(n::text, 9, '0'), 'Name ' || n, '{gold}' from generate_series(1, %s) as n
        """,
        (shop.user.id, count),
    )
    campaign = shop.campaign(scheduled_at=soon(0))
    looks: list[dict[str, Any]] = []

    daemon()

    def is_over() -> bool:
        """Looks closely whenever so many more have been sent that there are a hundred looks and more."""
        row = db.execute("select sent, finished_at from campaign_runs").fetchone() or {"sent": 0, "finished_at": None}
        seen = looks[-1]["sent"] if looks else -1
        if (row["sent"] >= seen + count // 150 or row["finished_at"]) and (run := look(db)):
            looks.append(run)
        return bool(looks) and looks[-1]["finished_at"] is not None

    until(is_over, 1200 if is_long() else 60)
    run = shop.run(campaign)
    assert (run["status"], run["total"], run["sent"]) == ("completed", count, count)
    on_the_way = [seen["sent"] for seen in looks if 0 < seen["sent"] < count]
    assert on_the_way == sorted(on_the_way)
    assert len(looks) >= 100 or not is_long()
    assert len(set(on_the_way)) > 3
    sent = "select count(*) from broadcast_messages where status = 'sent'"
    assert one(db, sent) == one(db, sent.replace("*", "distinct contact")) == count
    assert one(db, "select count(*) from scheduled_messages") == count
