"""One copy of the checkout with a local Supabase of its own, into which faults are put, one at a time."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg

from local.api import ROOT
from local.mutate.faults import Fault
from local.stack import Stack, fresh
from worker.operating import migrate

LINKED = (".venv", "node_modules")
LONGEST = 900  # seconds that the tests of one fault may take; one that hangs is noticed, too
NOTHING_FAILED, SOMETHING_FAILED = 0, 1  # pytest's exit codes
NAMES = ("SUPABASE_URL", "SUPABASE_SERVICE_ROLE_KEY", "SUPABASE_ANON_KEY", "DATABASE_URL", "PATH", "NO_PROXY")


def copy(directory: Path) -> Path:
    """The files that git knows, as they are in the working tree; what is installed is linked."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).exists():
            (directory / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, directory / name, follow_symlinks=False)
    for name in LINKED:
        (directory / name).symlink_to(ROOT / name)
    (directory / ".local").mkdir()
    return directory


# Everything of ours that a migration makes, as one number.
MADE = """
select md5(string_agg(made.line, ';' order by made.line)) from (
    select concat_ws(
        ' ', p.oid::regprocedure, pg_get_functiondef(p.oid), array(select g::text from unnest(p.proacl) as g order by 1)
    ) as line
    from pg_proc as p where p.pronamespace::regnamespace::text in ('public', 'private') and p.prokind in ('f', 'p')
    union all select p::text from pg_policies as p
    union all select concat_ws(' ', pg_get_triggerdef(t.oid), t.tgenabled) from pg_trigger as t where not t.tgisinternal
    union all select concat_ws(' ', k.conrelid::regclass, k.conname, pg_get_constraintdef(k.oid))
    from pg_constraint as k
    union all select concat_ws(' ', n.nspname, n.nspacl) from pg_namespace as n
    union all select concat_ws(
        ' ', c.oid::regclass, c.relrowsecurity, array(select g::text from unnest(c.relacl) as g order by 1),
        c.reloptions, pg_get_indexdef(i.indexrelid)
    )
    from pg_class as c left join pg_index as i on i.indexrelid = c.oid
    where c.relnamespace::regnamespace::text in ('public', 'private')
    union all select concat_ws(
        ' ', a.attrelid::regclass, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attacl,
        pg_get_expr(d.adbin, d.adrelid)
    )
    from pg_attribute as a join pg_class as c on c.oid = a.attrelid
    left join pg_attrdef as d on d.adrelid = a.attrelid and d.adnum = a.attnum
    where c.relnamespace::regnamespace::text in ('public', 'private') and a.attnum > 0
) as made
"""


class Lane:
    """All faults share the stack. One in SQL gets a new database there, with the migrations as it made them."""

    def __init__(self, directory: Path, stack: Stack) -> None:
        self.directory, self._stack = directory, stack
        self._migrated: dict[str, str] = {}
        self._sound: set[str] = set()  # tests that have passed here without a fault
        stack.api.stop()
        self._execute("create database bare template postgres")
        self._whole = self._migrations()  # what each fault's database is a copy of, where that will do
        migrate.migrate(stack.postgres.url(), directory=directory / "sql")
        self._execute("create database migrated template postgres")

    def notices(self, fault: Fault) -> str:
        """The first test that failed, "" where none did. Raises ValueError where the fault cannot be put in, or
        somebody ends the tests.

        A test that fails without the fault too, as on a busy machine, has not noticed it: then the others count.
        """
        believed_no_more: list[str] = []
        while True:
            path, before = fault.apply(self.directory)
            try:
                failed = self._failure([f"tests/{test}" for test in fault.tests], believed_no_more)
            finally:
                path.write_text(before)
            if not failed.startswith("tests/") or failed in self._sound:
                return failed
            if not self._failure([failed]).startswith("tests/"):
                self._sound.add(failed)
                return failed
            believed_no_more.append(failed)

    def _failure(self, tests: Sequence[str], but: Sequence[str] = ()) -> str:
        pytest = [sys.executable, "-m", "pytest", "-x", "-q", "--no-header", "--tb=no", "-p", "no:cacheprovider"]
        left_out = [f"--deselect={test}" for test in ("tests/integration/test_schema.py", *but)]
        command = [*pytest, *left_out, *tests]
        environment = {**os.environ, "PYTHONPATH": f"{self.directory}:{self.directory / 'scripts'}"}
        environment |= {name: self._stack.environment[name] for name in NAMES}
        try:
            self._migrate()
        except (migrate.MigrateRefused, psycopg.Error) as e:
            raise ValueError(f"the migrations end with {last_line(str(e))}") from e
        try:
            done = subprocess.run(
                command, cwd=self.directory, env=environment, capture_output=True, text=True, timeout=LONGEST
            )
        except subprocess.TimeoutExpired:
            return f"nothing within {LONGEST} s"
        if done.returncode < 0:
            raise ValueError(f"its tests were ended by signal {-done.returncode}")
        if done.returncode not in (NOTHING_FAILED, SOMETHING_FAILED):
            return f"pytest or the stack itself ended with {done.returncode}: {last_line(done.stderr or done.stdout)}"
        told = [line.partition(" ") for line in done.stdout.splitlines()]
        failed = [rest.partition(" - ")[0] for word, _, rest in told if word in ("FAILED", "ERROR")]
        return (failed or ["something"])[0] if done.returncode else ""

    def _migrate(self) -> None:
        """The database anew, unless it was made by the migrations as they are. Raises as `migrate` does."""
        migrations = self._migrations()
        if self._migrated == migrations:
            return
        self._migrated = {}
        self._stack.api.stop()
        if not self._make_by_one_file(migrations):
            self._make("bare")
            migrate.migrate(self._stack.postgres.url(), directory=self.directory / "sql")
        self._stack.api.start()
        self._migrated = migrations

    def _migrations(self) -> dict[str, str]:
        return {path.name: path.read_text() for path in migrate.migrations(self.directory / "sql")}

    def _make(self, template: str) -> None:
        self._execute("drop database postgres with (force)")
        self._execute(f"create database postgres template {template}")
        self._execute("grant create on database postgres to authenticator")  # which no template hands on

    def _make_by_one_file(self, migrations: dict[str, str]) -> bool:
        """A copy of the whole with one file run once more, which takes a second instead of twenty.

        Only where that is the same: where the file as it was changes nothing, and as it is now something.
        """
        changed = [name for name, text in migrations.items() if self._whole.get(name) != text]
        if set(migrations) != set(self._whole) or len(changed) > 1:
            return False
        self._make("migrated")
        if not changed:
            return True
        (file,) = changed
        with migrate.connect(self._stack.postgres.url()) as db, suppress(psycopg.Error):
            whole = migrate.value(db, MADE)
            migrate.run(db, self._whole[file])
            if migrate.value(db, MADE) == whole:
                migrate.run(db, migrations[file])
                return bool(migrate.value(db, MADE) != whole)
        return False

    def _execute(self, sql: str) -> None:
        with psycopg.connect(self._stack.postgres.url("template1"), autocommit=True) as db:
            db.execute(sql)


def last_line(text: str) -> str:
    return (text.strip().splitlines() or [""])[-1][:160]


@contextmanager
def lane(directory: Path) -> Iterator[Lane]:
    with fresh(apply_migrations=False) as stack:
        yield Lane(copy(directory), stack)
