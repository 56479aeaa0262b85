"""Fixtures for what the database itself must hold to."""

import pytest

from tests.helpers.rows import Database
from tests.sql.roles import Roles


@pytest.fixture
def roles(stack: dict[str, str], db: Database) -> Roles:
    """The stack's own database under each role."""
    return Roles(stack["DATABASE_URL"], db)
