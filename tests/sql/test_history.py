"""Our files and a project's own, pushed by the real Supabase CLI side by side, as README says."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.rows import one
from tests.sql.roles import Roles, another_database, opened, sql_file
from tests.sql.supabase_cli import supabase
from tests.sql.zoo import DOCUMENT, ZOO
from worker.operating import migrate


@pytest.fixture
def here(stack: dict[str, str]) -> Iterator[Roles]:
    with another_database(stack["DATABASE_URL"], "history") as url, opened(url) as roles:
        roles.db.execute(sql_file("platform.sql"))
        yield roles


class Application:
    """Somebody's repository, with what the Supabase CLI needs in it."""

    def __init__(self, directory: Path, url: str) -> None:
        self.directory, self.url = directory, url
        self.migrations = directory / "supabase" / "migrations"
        (directory / "supabase").mkdir()
        (directory / "supabase" / "config.toml").write_text('project_id = "application"')

    def write(self, version: str, sql: str) -> None:
        self.migrations.mkdir(parents=True, exist_ok=True)
        (self.migrations / f"{version}_own.sql").write_text(sql)

    def copy_ours(self) -> None:
        """`mkdir -p supabase/migrations && cp …/sql/2*.sql supabase/migrations/`"""
        self.migrations.mkdir(parents=True, exist_ok=True)
        for path in migrate.migrations():
            shutil.copy(path, self.migrations)

    def push(self, *options: str) -> tuple[int, str]:
        done = supabase("db", "push", *options, "--db-url", f"{self.url}?sslmode=disable", directory=self.directory)
        return done.returncode, done.stdout + done.stderr


@pytest.fixture
def application(here: Roles, tmp_path: Path) -> Application:
    return Application(tmp_path, here.url)


OURS = "select count(*) from supabase_migrations.schema_migrations where version between '20261127' and '20261129'"


def test_a_project_without_migrations_pushes_ours(here: Roles, application: Application):
    application.copy_ours()

    code, told = application.push()

    assert code == 0, told
    assert one(here.db, OURS) == len(migrate.migrations())
    assert migrate.migrate(here.url) == []


def test_a_project_with_migrations_of_its_own_goes_on_pushing_them_after_ours(here: Roles, application: Application):
    application.write("20240101000000", "create table own (id integer);")
    assert application.push()[0] == 0
    migrate.migrate(here.url)
    application.write("20270101000000", "alter table own add name text;")
    assert application.push()[0] != 0, "the CLI does not know ours: the words below are needed"

    application.copy_ours()
    code, told = application.push()

    assert code == 0, told
    assert one(here.db, "select count(name) from own") == 0
    assert migrate.migrate(here.url) == []


def test_a_project_that_is_ahead_of_ours_includes_all(here: Roles, application: Application):
    application.write("20270101000000", "create table own (id integer);")
    assert application.push()[0] == 0

    application.copy_ours()
    code, told = application.push("--include-all")

    assert code == 0, told
    assert one(here.db, OURS) == len(migrate.migrations())
    assert migrate.migrate(here.url) == []


def test_the_cli_is_refused_with_the_same_list_and_nothing_has_changed(here: Roles, application: Application):
    [animal] = [each for each in ZOO if each.name == "an enum, with what hangs on it"]
    here.db.execute(animal.sql)
    with pytest.raises(migrate.MigrateRefused) as refused:
        migrate.migrate(here.url)
    application.copy_ours()

    code, told = application.push()

    assert code != 0
    squeezed = re.sub(r"\s+", " ", told)
    for line in str(refused.value).splitlines():
        assert re.sub(r"\s+", " ", line).strip() in squeezed
    assert one(here.db, "select to_regnamespace('private') is null")
    assert one(here.db, OURS) == 0


def test_the_cli_makes_fit_what_we_make_fit(here: Roles, application: Application):
    here.db.execute(DOCUMENT + "alter table scheduled_messages add check (status in ('pending', 'sent', 'failed'))")
    application.copy_ours()

    code, told = application.push()

    assert code == 0, told
    with here.acting("service_role") as db:
        assert db.execute("select from diagnose() where level = 'failure'").fetchall() == []
