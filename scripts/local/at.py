"""The time and zone of `./scripts/test --at` and `--zone`, for all processes of a run alike.

What is started without `AT` is at another time than everything else. `python -m local.at` sets the clock.
"""

import os
import time
from datetime import datetime
from pathlib import Path

NAMES = (
    "TZ",
    "LD_PRELOAD",
    "FAKETIME_TIMESTAMP_FILE",
    "FAKETIME_NO_CACHE",
    "FAKETIME_DONT_FAKE_MONOTONIC",
    "FAKETIME_FORCE_MONOTONIC_FIX",
    "TESTS_BEGIN_AT",
)
AT = {name: os.environ[name] for name in NAMES if name in os.environ}


def turn_back() -> None:
    """It is TESTS_BEGIN_AT again, if there is one. An offset: each process goes on from where the others are."""
    if "TESTS_BEGIN_AT" not in os.environ:
        return
    forget_the_dead()
    file = Path(os.environ["FAKETIME_TIMESTAMP_FILE"])
    ahead = float(file.read_text() or 0)
    wanted = datetime.fromisoformat(os.environ["TESTS_BEGIN_AT"]).timestamp()
    new = file.with_name(f"{file.name}.new")  # beside others' of the same folder
    new.write_text(f"{wanted - (time.time() - ahead):+.3f}")
    new.rename(file)  # whole or not at all


def forget_the_dead(shared: Path = Path("/dev/shm")) -> None:
    """What libfaketime shares under a process's number outlives one that is killed, and who gets that number next, as
    another user, as PostgreSQL is, may not open it and does not start.
    """
    for file in shared.glob("*faketime_s*_*"):
        if not Path("/proc", file.name.rpartition("_")[2]).exists():
            file.unlink(missing_ok=True)


if __name__ == "__main__":
    turn_back()
