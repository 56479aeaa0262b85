"""The migrations, on an empty project: they make what tests/sql/schema.sql says, and a second run does nothing."""

import os
import re
import subprocess

import pytest

from local.api import ROOT
from local.dump import SCHEMA, dump
from local.stack import fresh
from worker.operating.migrate import SQL, migrations


@pytest.fixture(scope="module")
def bare():
    """A stack without our migrations."""
    with fresh(apply_migrations=False) as stack:
        yield stack


def migrate(stack, *arguments):
    done = subprocess.run(
        [ROOT / "scripts" / "migrate", *arguments],
        env={**os.environ, **stack.environment}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout.splitlines()


def test_a_dry_run_names_every_file_and_applies_none_then_each_runs_once_then_none(bare):
    names = [path.name for path in migrations()]

    assert migrate(bare, "--dry-run")[:-1] == [f"would apply {name}" for name in names]
    assert migrate(bare)[:-1] == [f"applied {name}" for name in names]
    made = dump(bare.postgres)
    assert migrate(bare, "--dry-run") == [f"migrate: 0 of {len(names)} files to apply"]
    assert migrate(bare) == [f"migrate: 0 of {len(names)} files applied"]
    assert dump(bare.postgres) == made


def test_the_migrations_make_what_schema_sql_says(bare):
    migrate(bare)

    assert dump(bare.postgres) == SCHEMA.read_text(), "run ./scripts/dump-schema"


def test_every_migration_has_a_name_that_supabase_db_push_accepts():
    names = [path.name for path in SQL.glob("*.sql")]

    assert [name for name in names if not re.fullmatch(r"\d{14}_[a-z0-9_]+\.sql", name)] == []
    assert len({name[:14] for name in names}) == len(names)
