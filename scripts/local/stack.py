"""Puts the parts together: PostgreSQL, the roles, the API server, the migrations."""

import contextlib
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from local import api
from local.api import NODE, ROOT, Api
from local.pages import Pages
from local.postgres import Postgres, free_port, log_file
from worker.operating import migrate

HOME = ROOT / ".local" / "stack"
UP_PORTS = (54321, 54322)  # the Supabase CLI's: API, database
PAGES_PORT = 54323  # where the CLI has its Studio


def new_keys() -> dict[str, str]:
    return {
        "anon_key": f"sb_publishable_{secrets.token_urlsafe(24)}",
        "service_key": f"sb_secret_{secrets.token_urlsafe(24)}",
        "jwt_secret": secrets.token_urlsafe(32),
        "database_password": secrets.token_urlsafe(24),
    }


class Stack:
    """A local Supabase in `directory`. `environment` is what clients need."""

    def __init__(self, directory: Path, api_port: int, db_port: int, keys: dict[str, str] | None = None) -> None:
        self.directory, self.keys = directory, keys or new_keys()
        self.postgres = Postgres(directory / "postgres", db_port, self.keys["database_password"])
        self.api = Api(directory / "api", api_port, self.postgres.url(user="authenticator"), self.keys)

    def start(self, apply_migrations: bool = True) -> None:
        fresh = not (self.postgres.directory / "PG_VERSION").exists()
        self.postgres.start()
        if fresh:
            api.make_roles(self.postgres.url(), "postgres", self.keys["database_password"])
            self.api.start()  # makes the schema `auth`, which our tables refer to
            self.api.stop()
            api.open_auth(self.postgres.url())
        if apply_migrations:
            migrate.migrate(self.postgres.url())
        self.api.start()

    def stop(self) -> None:
        self.api.stop()
        self.postgres.stop()

    @property
    def environment(self) -> dict[str, str]:
        return {
            "SUPABASE_URL": self.api.url,
            "SUPABASE_SERVICE_ROLE_KEY": self.keys["service_key"],
            "SUPABASE_ANON_KEY": self.keys["anon_key"],
            "DATABASE_URL": self.postgres.url(),
            "PATH": f"{ROOT / '.venv' / 'bin'}{os.pathsep}{NODE.parent}{os.pathsep}{os.environ.get('PATH', '')}",
            "NO_PROXY": "127.0.0.1,localhost",
        }


@contextlib.contextmanager
def fresh(apply_migrations: bool = True) -> Iterator[Stack]:
    """An empty stack on free ports, removed whatever happens."""
    directory = Path(tempfile.mkdtemp(prefix="stack-"))
    directory.chmod(0o755)
    stack = Stack(directory, free_port(), free_port())
    try:
        stack.start(apply_migrations)
        with kept_up(stack.api):
            yield stack
    finally:
        stack.stop()
        shutil.rmtree(directory, ignore_errors=True)


@contextlib.contextmanager
def kept_up(server: Api) -> Iterator[None]:
    """It is started again when it has ended by itself, as its driver does when PostgreSQL goes down under it."""
    is_over = threading.Event()

    def look() -> None:
        while not is_over.wait(0.2):
            with contextlib.suppress(SystemExit):  # PostgreSQL is not back yet
                server.start_again_if_ended()

    looking = threading.Thread(target=look, daemon=True)
    looking.start()
    try:
        yield
    finally:
        is_over.set()
        looking.join(5)


def tidy_up_when_ended() -> None:
    """Whoever ends this program, what it has started ends with it, and its directories go."""
    for sig in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(sig, lambda *_: sys.exit(143))


def execute(command: list[str]) -> int:
    """Runs `command` against a fresh stack. Returns its exit code."""
    tidy_up_when_ended()
    try:
        with fresh() as stack:
            return attend(subprocess.Popen(command, env={**os.environ, **stack.environment}))
    except KeyboardInterrupt:
        return 130


def attend(child: subprocess.Popen[bytes]) -> int:
    """Its exit code. It does not outlive us; after a Ctrl-C, which reached it as well, it has a moment to tidy up."""
    try:
        return child.wait()
    except KeyboardInterrupt:
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(10)
        raise
    finally:
        end(child)


def end(child: subprocess.Popen[bytes]) -> None:
    if child.poll() is None:
        child.terminate()
        try:
            child.wait(30)
        except subprocess.TimeoutExpired:
            child.kill()


def up() -> None:
    """Starts the lasting stack in a process of its own, which `down` ends."""
    if running():
        print(f"stack: already up\n{describe()}")
        return
    HOME.mkdir(parents=True, exist_ok=True)
    with log_file(HOME / "stack.log") as log:
        keeper = subprocess.Popen(
            [sys.executable, "-m", "local.stack", "keep"], stdout=log, stderr=log, stdin=subprocess.DEVNULL,
            start_new_session=True, env={**os.environ, "PYTHONPATH": str(ROOT / "scripts")},
        )  # fmt: skip
    while not (HOME / "ready").exists():
        if keeper.poll() is not None:
            raise SystemExit(f"stack: it did not start; see {HOME / 'stack.log'}")
        time.sleep(0.05)
    print(describe())


def keep() -> None:
    """The process behind `up`: holds the servers until it is told to stop."""
    keys_file = HOME / "keys.json"
    # A stack from before the database asked for a password does not look at it.
    keys = new_keys() | (json.loads(keys_file.read_text()) if keys_file.exists() else {})
    keys_file.touch(mode=0o600)
    keys_file.write_text(json.dumps(keys))
    stack = Stack(HOME, *UP_PORTS, keys=keys)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    (HOME / "pid").write_text(str(os.getpid()))
    try:
        stack.start()
        environment = {k: v for k, v in stack.environment.items() if k != "PATH"}
        # PREVIEW_URL: of a daemon's HTTP_PORT, if one is to show the next occurrences.
        preview = os.environ.get("PREVIEW_URL", "")
        with kept_up(stack.api), Pages(stack.api.url, keys["anon_key"], PAGES_PORT, preview) as pages:
            environment["PAGES_URL"] = pages.url
            (HOME / "ready").touch(mode=0o600)
            (HOME / "ready").write_text("".join(f"{k}={v}\n" for k, v in environment.items()))
            signal.pause()
    finally:
        (HOME / "ready").unlink(missing_ok=True)
        stack.stop()
        (HOME / "pid").unlink(missing_ok=True)


def running() -> int | None:
    try:
        pid = int((HOME / "pid").read_text())
        os.kill(pid, 0)
    except (OSError, ValueError):
        for name in ("pid", "ready"):
            (HOME / name).unlink(missing_ok=True)
        return None
    return pid


def describe() -> str:
    return "stack: up; its environment:\n" + (HOME / "ready").read_text()


def down() -> None:
    pid = running()
    if not pid:
        print("stack: not up")
        return
    os.kill(pid, signal.SIGTERM)
    while running():
        time.sleep(0.05)
    print("stack: down (its data stays in .local/stack)")


def main() -> int:
    match sys.argv[1:]:
        case ["up"]:
            up()
        case ["down"]:
            down()
        case ["keep"]:
            keep()
        case ["exec", "--", *command] if command:
            return execute(command)
        case _:
            sys.exit("usage: ./scripts/stack up | down | exec -- COMMAND …")
    return 0


if __name__ == "__main__":
    sys.exit(main())
