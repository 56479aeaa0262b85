"""What the doctor hears from the database."""

from tests.helpers.rows import Database, add_connections, one, schedule


def failures(db: Database) -> list[str]:
    return [str(row["what"]) for row in db.execute("select what from diagnose() where level = 'failure'")]


def test_a_message_that_is_loaded_with_triggers_off_falls_due_all_the_same(db: Database):
    """As from a restore or a subscription whose source has no `due_at`."""
    add_connections(db, "shop")
    db.execute("set session_replication_role = replica")
    row, held = schedule(db), schedule(db, held="approval")
    db.execute("set session_replication_role = origin")

    assert [str(due["id"]) for due in db.execute("select id from get_pending_scheduled_messages()")] == [row]
    assert one(db, "select due_at from scheduled_messages where id = %s", held) is None


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
