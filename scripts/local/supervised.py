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
from local.at import AT
from local.postgres import dies_with_parent

NEEDED = (".venv", "worker")  # what supervisord.conf expects beside itself
SCRIPTS = ("supervisord", "supervisorctl")


class Supervised:
    """supervisord in the foreground, with `environment` and nothing else; `with` stops it and its daemons.

    name: what the directory is called. numprocs: how many daemons.
    """

    def __init__(self, environment: dict[str, str], name: str = "checkout", numprocs: int = 1) -> None:
        self._temporary = Path(tempfile.mkdtemp(prefix="supervised-"))
        self.directory = self._temporary / name
        self.environment, self._numprocs = environment, numprocs
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self._furnish()
        with open(self._temporary / "out.log", "wb") as out:
            self.process = subprocess.Popen(
                [self._script("supervisord"), "-n"], cwd="/", env=self._environment(), stdin=subprocess.DEVNULL,
                stdout=out, stderr=out, start_new_session=True, preexec_fn=dies_with_parent(15),
            )  # fmt: skip
        self._await_ready()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.stop()
        shutil.rmtree(self._temporary)

    def ctl(self, *words: str) -> str:
        """What supervisorctl prints."""
        done = subprocess.run(
            [self._script("supervisorctl"), *words], cwd="/", env=self._environment(), capture_output=True, text=True
        )
        return (done.stdout + done.stderr).strip()

    def state(self, number: int = 0) -> str:
        """STARTING, RUNNING, BACKOFF, STOPPING, STOPPED, EXITED or FATAL."""
        return self.ctl("status", "worker:*").splitlines()[number].split()[1]

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

    def _furnish(self) -> None:
        conf = (ROOT / "supervisord.conf").read_text()
        (self.directory / "scripts").mkdir(parents=True)
        (self.directory / "supervisord.conf").write_text(conf.replace("numprocs=1", f"numprocs={self._numprocs}"))
        for name in SCRIPTS:
            shutil.copy(ROOT / "scripts" / name, self.directory / "scripts" / name)
        for name in NEEDED:
            (self.directory / name).symlink_to(ROOT / name)

    def _environment(self) -> dict[str, str]:
        return {"PATH": os.environ["PATH"], "TMPDIR": str(self._temporary), **AT, **self.environment}

    def _script(self, name: str) -> str:
        return str(self.directory / "scripts" / name)

    def _await_ready(self) -> None:
        assert self.process
        deadline = time.monotonic() + 30
        while not any(self._temporary.glob("**/*.sock")):
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"supervisord did not start:\n{(self._temporary / 'out.log').read_text()}")
            time.sleep(0.05)
