"""What a project has put on our tables: triggers that refuse, checks and types that do not know our values."""

from collections.abc import Iterator
from contextlib import contextmanager

from tests.helpers.rows import Database


@contextmanager
def refusing(db: Database, table: str, when: str, code: str = "P0001", on: str = "insert or update") -> Iterator[None]:
    """A trigger that raises `code` with the words "our own rule" for rows that meet `when`.

    Named so that it fires last, like a constraint of the project's own.
    """
    db.execute(
        f"""
        create function public.own_rule() returns trigger language plpgsql as
        $$ begin raise exception 'our own rule' using errcode = '{code}'; end $$;
        create trigger zzz_own_rule before {on} on {table} for each row when ({when}) execute function own_rule()
        """
    )
    try:
        yield
    finally:
        lift(db)


def lift(db: Database) -> None:
    """The project takes its rule back."""
    db.execute("drop function if exists public.own_rule() cascade")


@contextmanager
def having(db: Database, do: str, undo: str) -> Iterator[None]:
    """A change of the project's own, for the length of a test."""
    db.execute(do)
    try:
        yield
    finally:
        db.execute("truncate scheduled_messages, broadcast_jobs, broadcast_messages cascade")
        db.execute(undo)
