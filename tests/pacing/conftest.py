import pytest

from tests.helpers.rows import Database
from tests.pacing.limiter import Queue


@pytest.fixture
def queue(db: Database) -> Queue:
    return Queue(db)
