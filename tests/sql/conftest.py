"""Fixtures for what the database itself must hold to."""

from collections.abc import Iterator

import pytest

from tests.helpers.accounts import User, sign_up
from tests.helpers.rows import Database
from tests.sql.roles import Roles


@pytest.fixture
def roles(stack: dict[str, str], db: Database) -> Roles:
    """The stack's own database under each role."""
    return Roles(stack["DATABASE_URL"], db)


@pytest.fixture(scope="session")
def accounts(stack: dict[str, str]) -> Iterator[tuple[User, User]]:
    """Two users who sign up once: hashing a password takes its time."""
    users = sign_up(stack), sign_up(stack)
    yield users
    for one in users:
        one.http.close()


@pytest.fixture
def tenants(db: Database, accounts: tuple[User, User]) -> tuple[User, User]:
    """Two signed-in users, each with a connection, who have nothing to do with each other."""
    for one in accounts:
        db.execute("insert into connections (id, name, user_id) values (%s, 'shop', %s)", (one.connection_id, one.id))
    return accounts
