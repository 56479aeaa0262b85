"""What the doctor hears from the database."""

from tests.helpers.rows import Database, add_connections, schedule


def failures(db: Database) -> list[str]:
    return [str(row["what"]) for row in db.execute("select what from diagnose() where level = 'failure'")]


def test_messages_that_would_never_fall_due_are_told_of(db: Database):
    add_connections(db, "shop")
    assert failures(db) == []
    with db.transaction(force_rollback=True):
        db.execute("alter table scheduled_messages disable trigger zz_set_due_at")
        schedule(db)
        assert failures(db) == [
            "triggers are missing or disabled: scheduled_messages.zz_set_due_at",
            "1 pending message(s) will not fall due when they should",
        ]
