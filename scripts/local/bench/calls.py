"""HTTP calls and SQL statements per thousand messages: cost must grow with batches, not with rows."""

from collections.abc import Iterator

from local.bench.figures import Figure, Size
from local.bench.ground import ground
from local.bench.throughput import START_SECONDS

STATEMENTS = """
select sum(calls) from pg_stat_statements
where query not like '%%pg_stat_statements%%' and query not like 'select exists%%'
"""
SETTINGS = ((20, 500), (200, 500), (1000, 1000))


def calls(size: Size) -> Iterator[Figure]:
    """For the defaults and for larger batches. The API server runs some thirteen statements for each call."""
    rows = size.rows // 2
    with ground(shared_preload_libraries="pg_stat_statements") as place:
        place.db.execute("create extension pg_stat_statements")
        for concurrency, batch in SETTINGS:
            place.clear()
            due = place.add(rows, ahead=START_SECONDS + rows / 2000)
            with place.daemons(1, CONCURRENCY=concurrency, BATCH_SIZE=batch) as (daemon,):
                place.sleep_until(due)
                place.db.execute("select pg_stat_statements_reset()")
                before = daemon.calls()
                place.await_done()
                http, statements = daemon.calls() - before, float(place.one(STATEMENTS))
            settings = f"{rows:,} rows, CONCURRENCY={concurrency}, BATCH_SIZE={batch}"
            yield Figure(
                "calls",
                f"HTTP calls per 1,000 messages, CONCURRENCY {concurrency}",
                http / rows * 1000,
                "",
                settings=settings,
            )
            yield Figure(
                "calls",
                f"SQL statements per 1,000 messages, CONCURRENCY {concurrency}",
                statements / rows * 1000,
                "",
                settings=settings,
            )
