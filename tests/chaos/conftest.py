"""A stack of our own, whose servers a test may kill, and a town on it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from local.stack import Stack, fresh

from tests.chaos.town import SEND_SECONDS, Town
from tests.helpers.counting_gateway import CountingGateway


@pytest.fixture(scope="session")
def supabase() -> Iterator[Stack]:
    with fresh() as stack:
        yield stack


@pytest.fixture
def town(supabase: Stack, tmp_path: Path) -> Iterator[Town]:
    """An empty one; what a test starts in it ends with the test."""
    with CountingGateway(delay=SEND_SECONDS) as gateway:
        town = Town(supabase, gateway, tmp_path)
        town.empty()
        yield town
        town.end()


@pytest.fixture
def note():
    """note("what was done", verdict, …): a line of docs/reliability.md."""
    return print
