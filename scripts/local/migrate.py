"""Applies sql/ in order, each file once, and records it in supabase_migrations.schema_migrations."""

import os
import re
import sys
import time
from pathlib import Path

import psycopg

SQL = Path(__file__).resolve().parents[2] / "sql"
NAME = re.compile(r"^(\d{14})_(\w+)\.sql$")
ATTEMPTS, PAUSE = 20, 0.2  # seconds between them
HISTORY = """
create schema if not exists supabase_migrations;
create table if not exists supabase_migrations.schema_migrations (
    version text primary key, statements text[], name text
);
"""


def migrations(directory: Path = SQL) -> list[Path]:
    """The migration files, oldest first."""
    return sorted(path for path in directory.iterdir() if NAME.match(path.name))


def runs_alone(sql: str) -> bool:
    """A file whose one statement cannot run inside a transaction, such as `create index concurrently`."""
    return re.search(r"^\s*(create|drop|re)\s*(unique\s+)?index\s+concurrently", sql, re.I | re.M) is not None


def applied(db: psycopg.Connection[tuple[str]]) -> set[str]:
    if not db.execute("select to_regclass('supabase_migrations.schema_migrations')").fetchone()[0]:  # type: ignore[index]
        return set()
    return {row[0] for row in db.execute("select version from supabase_migrations.schema_migrations")}


def drop_invalid(db: psycopg.Connection[tuple[str]], sql: str) -> None:
    """An interrupted `create index concurrently` leaves an index that `if not exists` takes for the whole thing."""
    for name in re.findall(r"\bindex\s+concurrently\s+if\s+not\s+exists\s+(\w+)", sql, re.I):
        broken = "select from pg_index where indexrelid = to_regclass(%s) and not indisvalid"
        if db.execute(broken, (f"public.{name}",)).fetchone() is not None:
            db.execute(f"drop index concurrently public.{name}")


def apply(db: psycopg.Connection[tuple[str]], path: Path) -> None:
    sql = path.read_text()
    version, name = NAME.match(path.name).groups()  # type: ignore[union-attr]
    record = "insert into supabase_migrations.schema_migrations (version, name, statements) values (%s, %s, %s)"
    if runs_alone(sql):
        drop_invalid(db, sql)
        db.execute(sql)
        db.execute(record, (version, name, [sql]))
        return
    with db.transaction():
        db.execute(sql)
        db.execute(record, (version, name, [sql]))


def apply_patiently(db: psycopg.Connection[tuple[str]], path: Path) -> None:
    """Again where a file gave up waiting for a lock (its `lock_timeout`): the writers behind it have had their turn.

    Or where it was in the way of somebody who was in its way: one of the two has to begin anew.
    """
    for _ in range(ATTEMPTS - 1):
        try:
            return apply(db, path)
        except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected):
            time.sleep(PAUSE)
    return apply(db, path)


def lock(db: psycopg.Connection[tuple[str]]) -> None:
    """One migration at a time. Asks again and again: a statement that waits holds up `create index concurrently`."""
    while not db.execute("select pg_try_advisory_lock(hashtext('scheduled_messages migrations'))").fetchone()[0]:  # type: ignore[index]
        time.sleep(PAUSE)


def migrate(url: str, dry_run: bool = False, directory: Path = SQL) -> list[str]:
    """Returns the names of the files that ran (or would run)."""
    with psycopg.connect(url, autocommit=True) as db:
        lock(db)
        todo = [path for path in migrations(directory) if NAME.match(path.name).group(1) not in applied(db)]  # type: ignore[union-attr]
        if not dry_run:
            db.execute(HISTORY)
            for path in todo:
                apply_patiently(db, path)
        return [path.name for path in todo]


def main() -> None:
    if not (url := os.environ.get("DATABASE_URL")):
        sys.exit("migrate: set DATABASE_URL to the database's libpq URL (Supabase: Project Settings → Database)")
    dry_run = "--dry-run" in sys.argv[1:]
    try:
        names = migrate(url, dry_run)
    except psycopg.Error as e:
        sys.exit(f"migrate: {e}")
    for name in names:
        print(("would apply " if dry_run else "applied ") + name)
    print(f"migrate: {len(names)} of {len(migrations())} files" + (" to apply" if dry_run else " applied"))


if __name__ == "__main__":
    main()
