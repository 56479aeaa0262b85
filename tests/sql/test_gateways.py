"""The gateways as the database knows them."""

from worker.kinds import KINDS


def test_the_database_knows_the_gateways_that_the_daemon_knows_and_says_the_same_of_them(db):
    rows = db.execute("select * from private.gateways").fetchall()

    assert rows
    assert {row["name"]: row for row in rows} == {
        name: {column: getattr(kind, column) for column in rows[0]} for name, kind in KINDS.items()
    }
