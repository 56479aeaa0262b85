"""Further databases on the same server, and what one may do in them under each of the API's roles."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psycopg
from psycopg.rows import dict_row

from tests.helpers.rows import Database

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Roles:
    """One database as its superuser sees it (`db`), and as the API's roles do, by SQL alone."""

    url: str
    db: Database

    @contextmanager
    def acting(self, role: str, sub: str | UUID = "") -> Iterator[Database]:
        """A transaction in which `db` has this role, and the API's token this user; nothing of it stays."""
        with self.db.transaction(force_rollback=True):
            self.db.execute("select set_config('request.jwt.claim.sub', %s, true)", (str(sub),))
            self.db.execute("select set_config('request.jwt.claim.role', %s, true)", (role,))
            self.db.execute(f"set local role {role}")
            yield self.db

    def tried(self, role: str, sub: str | UUID, sql: str, *arguments: Any) -> str | list[dict[str, Any]]:
        """The rows that a statement gives, or the SQLSTATE that it is refused with; it leaves no trace."""
        try:
            with self.acting(role, sub) as db:
                cursor = db.execute(sql, arguments)
                return cursor.fetchall() if cursor.description else []
        except psycopg.Error as e:
            return e.sqlstate or str(e)

    def person(self) -> UUID:
        """A new user with a connection, whose id is the user's too."""
        someone = uuid4()
        self.db.execute("insert into auth.users (id) values (%s)", (someone,))
        self.db.execute(
            "insert into connections (id, name, user_id) values (%s, 'shop', %s)", (str(someone), str(someone))
        )
        return someone


@contextmanager
def another_database(server: str, name: str, template: str = "template1") -> Iterator[str]:
    """A database on the same server, empty or a copy of another, removed in the end. Yields its URL."""
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute(f"drop database if exists {name} with (force)")
        admin.execute(f"create database {name} template {template}")
        try:
            yield f"{server.rpartition('/')[0]}/{name}"
        finally:
            admin.execute(f"drop database if exists {name} with (force)")


@contextmanager
def opened(url: str) -> Iterator[Roles]:
    with psycopg.connect(url, autocommit=True, row_factory=dict_row) as db:
        yield Roles(url, db)


def sql_file(name: str) -> str:
    return (HERE / name).read_text()
