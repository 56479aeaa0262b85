"""The production supervisord.conf in a directory of its own, so that it meets no daemon of the checkout."""

import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from local.api import ROOT
from local.postgres import dies_with_parent

NEEDED = (".venv", "worker")  # what supervisord.conf expects beside itself


class Supervised:
    """supervisord in the foreground, with `environment` and nothing else; `with` stops it and its daemons."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="supervised-"))
        self.environment = environment
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        shutil.copy(ROOT / "supervisord.conf", self.directory)
        (self.directory / ".local").mkdir()
        for name in NEEDED:
            (self.directory / name).symlink_to(ROOT / name)
        with open(self.directory / "out.log", "wb") as out:
            self.process = subprocess.Popen(
                [self._program("supervisord"), "-n", "-c", "supervisord.conf"],
                cwd=self.directory, env={"PATH": os.environ["PATH"], **self.environment}, stdin=subprocess.DEVNULL,
                stdout=out, stderr=out, start_new_session=True, preexec_fn=dies_with_parent(15),
            )  # fmt: skip
        self._await_ready()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.stop()
        shutil.rmtree(self.directory)

    def ctl(self, *words: str) -> str:
        """What supervisorctl prints."""
        done = subprocess.run(
            [self._program("supervisorctl"), "-c", "supervisord.conf", *words],
            cwd=self.directory, capture_output=True, text=True,
        )  # fmt: skip
        return (done.stdout + done.stderr).strip()

    def state(self) -> str:
        """STARTING, RUNNING, BACKOFF, STOPPING, STOPPED, EXITED or FATAL."""
        return self.ctl("status", "worker:*").split()[1]

    def pid(self) -> int:
        """The daemon's."""
        return int(self.ctl("pid", "worker:worker_00"))

    @property
    def log(self) -> str:
        """The daemon's, so far."""
        path = self.directory / ".local" / "worker_00.log"
        return path.read_text() if path.exists() else ""

    def stop(self) -> None:
        """Ends the daemons as a shutdown of the machine does, then supervisord."""
        if self.process and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(60)

    def _await_ready(self) -> None:
        assert self.process
        deadline = time.monotonic() + 30
        while not (self.directory / ".local" / "supervisor.sock").exists():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"supervisord did not start:\n{(self.directory / 'out.log').read_text()}")
            time.sleep(0.05)

    @staticmethod
    def _program(name: str) -> str:
        return str(ROOT / ".venv" / "bin" / name)
