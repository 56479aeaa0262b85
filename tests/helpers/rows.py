"""Rows of scheduled_messages written straight into the database, and what became of them."""

from typing import Any

import psycopg

Database = psycopg.Connection[dict[str, Any]]


def schedule(db: Database, **columns: Any) -> str:
    """One message that is due unless `columns` say otherwise. Returns its id."""
    row = {"connection_id": "shop", "contact_id": "+919876500000", "message": "Hello", **columns}
    due = "" if "scheduled_at" in row else ", scheduled_at"
    now = "" if "scheduled_at" in row else ", now()"
    places = ", ".join(["%s"] * len(row))
    sql = f"insert into scheduled_messages ({', '.join(row)}{due}) values ({places}{now}) returning id::text"
    return str(one(db, sql, *row.values()))


def due_in(db: Database, seconds: float) -> str:
    """One message of the connection `shop` that is due in so many seconds, by the database's clock. Returns its id."""
    add_connections(db, "shop")
    return schedule(db, scheduled_at=one(db, "select now() + make_interval(secs => %s)", seconds))


def schedule_many(db: Database, count: int, connections: int = 10, after: float = 0.0) -> None:
    """`count` messages due in `after` seconds, each to a number of its own (`chat_id` tells which)."""
    add_connections(db, *(f"shop-{n}" for n in range(connections)))
    db.execute(
        """
        insert into scheduled_messages (connection_id, contact_id, message, scheduled_at)
        select 'shop-' || n %% %s, '+9198' || lpad(n::text, 8, '0'), 'Message ' || n, now() + make_interval(secs => %s)
        from generate_series(0, %s - 1) as n
        """,
        (connections, after, count),
    )


def add_connections(db: Database, *ids: str) -> None:
    db.execute(
        "insert into connections (id, name) select id, id from unnest(%s::text[]) as id on conflict do nothing",
        (list(ids),),
    )


def one(db: Database, sql: str, *arguments: Any) -> Any:
    """The single value of a query."""
    row = db.execute(sql, arguments).fetchone()
    assert row is not None, f"no row: {sql}"
    [value] = row.values()
    return value


def message(db: Database, row_id: str) -> dict[str, Any]:
    """One row of scheduled_messages."""
    row = db.execute("select * from scheduled_messages where id = %s", (row_id,)).fetchone()
    assert row is not None, f"no message {row_id}"
    return row


def statuses(db: Database) -> dict[str, int]:
    """How many rows have which status."""
    rows = db.execute("select status, count(*) as n from scheduled_messages group by status")
    return {row["status"]: row["n"] for row in rows}


def settled(db: Database) -> bool:
    """Whether nothing is pending or on its way."""
    return not one(db, "select exists (select from scheduled_messages where status in ('pending', 'processing'))")
