"""A project of its own on the same server: a database with whatever was there before us, the API in front of it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psycopg
from psycopg.rows import dict_row

from local import api
from local.postgres import free_port
from local.stack import new_keys
from tests.helpers.accounts import User
from tests.helpers.process import Worker, environment
from tests.helpers.rows import Database
from tests.sql.roles import another_database
from worker.operating import migrate

# What projects from before 2026-05-30 give away by default.
OLD_DEFAULTS = """
    alter default privileges in schema public grant all on tables to anon, authenticated, service_role;
    alter default privileges in schema public grant all on sequences to anon, authenticated, service_role;
    alter default privileges in schema public grant all on functions to anon, authenticated, service_role;
"""


@dataclass(frozen=True)
class Project:
    """`stack` is its environment, as the fixtures have it; `db` its superuser, rows as dicts."""

    stack: dict[str, str]
    db: Database
    server: api.Api

    def migrate(self) -> list[str]:
        """Applies sql/, and has the API read the schema, which it does once."""
        self.server.stop()
        names = migrate.migrate(self.stack["DATABASE_URL"])
        self.server.start()
        return names

    def client(self, key: str, token: str | None = None) -> httpx.Client:
        headers = {"apikey": self.stack[key]} | ({"authorization": f"Bearer {token}"} if token else {})
        return httpx.Client(base_url=f"{self.stack['SUPABASE_URL']}/rest/v1", headers=headers, trust_env=False)

    def run(self, command: str, directory: Path, **overrides: str) -> Worker:
        """`python -m worker COMMAND`."""
        return Worker(command, environment(self.stack, {"GATEWAY": "mock", "REALTIME": "off"}, overrides), directory)

    def once(self, directory: Path, **overrides: str) -> Worker:
        """`python -m worker once`, when it has ended."""
        worker = self.run("once", directory, **overrides)
        assert worker.wait(60) == 0, worker.text
        return worker

    def sign_up(self, email: str) -> tuple[str, str]:
        """A user's id and token."""
        answer = httpx.post(
            f"{self.stack['SUPABASE_URL']}/auth/v1/signup",
            json={"email": email, "password": "correct horse battery staple"},
            headers={"apikey": self.stack["SUPABASE_ANON_KEY"]},
            trust_env=False,
        )
        answer.raise_for_status()
        return answer.json()["user"]["id"], answer.json()["access_token"]

    def insert(self, table: str, **columns: Any) -> Any:
        """A row as it lies there before us. Returns its id."""
        names, places = ", ".join(columns), ", ".join(["%s"] * len(columns))
        sql = f"insert into {table} ({names}) values ({places}) returning id"
        return self.db.execute(sql, list(columns.values())).fetchone()["id"]


def user_of(project: Project, user_id: str, token: str, connection_id: str) -> User:
    return User(user_id, token, project.client("SUPABASE_ANON_KEY", token), connection_id)


@contextmanager
def project(stack: dict[str, str], name: str, directory: Path) -> Iterator[Project]:
    """An older project without any table of ours."""
    with another_database(stack["DATABASE_URL"], name) as url:
        keys = new_keys()
        as_authenticator = url.replace("//postgres:", "//authenticator:")
        server = api.Api(directory, free_port(), as_authenticator, keys)
        with psycopg.connect(url, autocommit=True, row_factory=dict_row) as db:
            db.execute(api.PER_DATABASE.format(database=name))
            try:
                server.start()  # makes the schema `auth`
                api.open_auth(url)
                db.execute(OLD_DEFAULTS)
                env = {"SUPABASE_URL": server.url, "DATABASE_URL": url}
                env |= {"SUPABASE_ANON_KEY": keys["anon_key"], "SUPABASE_SERVICE_ROLE_KEY": keys["service_key"]}
                yield Project(env, db, server)
            finally:
                server.stop()
