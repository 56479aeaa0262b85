"""One copy of the checkout with a local Supabase of its own, into which faults are put, one at a time."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psycopg

from local import migrate
from local.api import ROOT
from local.mutate.faults import Fault
from local.stack import Stack, fresh

LINKED = (".venv", "node_modules")
LONGEST = 300  # seconds that the tests of one fault may take; one that hangs is noticed, too
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


class Lane:
    """All faults share the stack. One in SQL gets a new database there, with the migrations as it made them."""

    def __init__(self, directory: Path, stack: Stack) -> None:
        self.directory, self._stack = directory, stack
        self._migrated: dict[str, str] = {}
        stack.api.stop()
        self._execute("create database bare template postgres")

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
            if not failed.startswith("tests/") or not self._failure([failed]).startswith("tests/"):
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
        sql = self.directory / "sql"
        migrations = {path.name: path.read_text() for path in migrate.migrations(sql)}
        if self._migrated == migrations:
            return
        self._migrated = {}
        self._stack.api.stop()
        self._execute("drop database postgres with (force)")
        self._execute("create database postgres template bare")
        self._execute("grant create on database postgres to authenticator")  # which no template hands on
        migrate.migrate(self._stack.postgres.url(), directory=sql)
        self._stack.api.start()
        self._migrated = migrations

    def _execute(self, sql: str) -> None:
        with psycopg.connect(self._stack.postgres.url("template1"), autocommit=True) as db:
            db.execute(sql)


def last_line(text: str) -> str:
    return (text.strip().splitlines() or [""])[-1][:160]


@contextmanager
def lane(directory: Path) -> Iterator[Lane]:
    with fresh(apply_migrations=False) as stack:
        yield Lane(copy(directory), stack)
