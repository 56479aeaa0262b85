"""A stack of our own, whose servers a test may kill, and a town on it."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from local.stack import Stack, fresh
from tests.chaos.town import SEND_SECONDS, Town, Verdict, reported
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
def note() -> Callable[..., None]:
    """note("what happened", verdict, kills=1): a line for ./scripts/chaos-report, which names the file."""

    def write(what: str, verdict: Verdict, **more: Any) -> None:
        if path := os.environ.get("CHAOS_REPORT"):
            with open(path, "a") as file:
                file.write(json.dumps(reported(what, verdict, **more)) + "\n")

    return write
