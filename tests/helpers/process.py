"""`python -m worker …` as a real process."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from local.at import AT
from local.postgres import dies_with_parent
from tests.helpers.polling import until

ROOT = Path(__file__).resolve().parents[2]
INHERITED = ("PATH", "HOME", "LANG", "TMPDIR", "NO_PROXY")


def environment(*layers: dict[str, str]) -> dict[str, str]:
    """What a process is given: nothing of the developer's own settings."""
    merged = {name: os.environ[name] for name in INHERITED if name in os.environ} | AT
    for layer in layers:
        merged |= layer
    return merged | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}


class Worker:
    """One process. Its directory is `directory`, away from the checkout's `.env`."""

    def __init__(self, command: str, env: dict[str, str], directory: Path) -> None:
        self.log = directory / f"{command}-{len(list(directory.glob(f'{command}-*')))}.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "worker", command],
                env=env,
                cwd=directory,
                stdout=log,
                stderr=subprocess.STDOUT,
                preexec_fn=dies_with_parent(signal.SIGKILL),  # a test run that is killed leaves no daemon behind
            )

    @property
    def text(self) -> str:
        return self.log.read_text()

    @property
    def lines(self) -> list[dict[str, Any]]:
        """The log so far. A line that is not JSON fails the test: programs read this log."""
        return [json.loads(line) for line in self.text.splitlines(keepends=True) if line.endswith("\n")]

    def said(self, event: str) -> list[dict[str, Any]]:
        """The lines with this event."""
        return [line for line in self.lines if line["event"] == event]

    def until_said(self, event: str, seconds: float = 15.0) -> dict[str, Any]:
        """Waits for a line with this event. Fails if the process ends before."""
        until(
            lambda: self.said(event) or self.process.poll() is not None,
            seconds,
            f"the worker saying {event!r}",
        )
        assert self.said(event), f"it ended with {self.process.returncode}:\n{self.text}"
        return self.said(event)[0]

    def wait(self, seconds: float = 30.0) -> int:
        """Its exit code; negative for a signal."""
        return self.process.wait(seconds)

    def stop(self, sig: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(sig)
        return self.wait()

    def kill(self) -> None:
        """SIGKILL, now."""
        self.process.kill()
        self.process.wait()
