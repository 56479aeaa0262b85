"""Writes tests/sql/schema.sql: what the migrations make of an empty project, to be read, and compared by a test."""

import re
import subprocess
import sys

from local.postgres import Postgres
from local.stack import fresh, tidy_up_when_ended
from worker.operating.migrate import SQL

SCHEMA = SQL.parent / "tests" / "sql" / "schema.sql"
SCHEMAS = ("public", "private")  # ours in a fresh project
HEADER = "-- Generated from the migrations by ./scripts/dump-schema; not applied by anything.\n\n"
# Session settings, and a key that pg_dump draws anew for every run.
NOISE = re.compile(
    r"^(--.*|SET .*|SELECT pg_catalog\.set_config.*|\\(un)?restrict .*|(CREATE|COMMENT ON) SCHEMA public.*"
    # What the local API server does on its first request.
    r"|ALTER DEFAULT PRIVILEGES FOR ROLE authenticator.*)\n",
    re.M,
)


def dump(postgres: Postgres) -> str:
    """The definitions in our schemas, the same text for the same definitions."""
    wanted = [argument for schema in SCHEMAS for argument in ("-n", schema)]
    done = subprocess.run(
        [str(postgres.binary("pg_dump")), "--schema-only", "--no-owner", *wanted, postgres.url()],
        capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(f"dump-schema: {done.stderr.strip()}")
    return HEADER + re.sub(r"\n{3,}", "\n\n", NOISE.sub("", done.stdout)).strip() + "\n"


def main() -> int:
    tidy_up_when_ended()
    with fresh() as stack:
        SCHEMA.write_text(dump(stack.postgres))
    print("dump-schema: wrote tests/sql/schema.sql")
    return 0


if __name__ == "__main__":
    sys.exit(main())
