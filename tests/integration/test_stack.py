"""./scripts/stack exec: an environment for a command, and nothing left of it afterwards."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

import psycopg
import pytest

from local.api import ROOT
from local.postgres import Postgres
from tests.helpers.polling import until
from tests.helpers.rows import one

ASK = 'echo "$SUPABASE_URL $DATABASE_URL"; '


def start(directory, command):
    """A stack for `command`, its own temporary directory in `directory`."""
    return subprocess.Popen(
        [ROOT / "scripts" / "stack", "exec", "--", "sh", "-c", command],
        env={**os.environ, "TMPDIR": str(directory)}, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


def ports(stack):
    """The API's and the database's, as the command printed them."""
    return [urlsplit(url).port for url in stack.stdout.readline().split()]


def servers(stack):
    """The processes of its API server."""
    children = [pid for task in Path(f"/proc/{stack.pid}/task").glob("*/children") for pid in task.read_text().split()]
    return [int(pid) for pid in children if b"lite" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def answers(port):
    with closing(socket.socket()) as s:
        return s.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def open_tmp():
    """PostgreSQL runs as another user where we are root, and pytest's own directories are closed to others."""
    with TemporaryDirectory() as path:
        Path(path).chmod(0o755)
        yield Path(path)


def test_two_at_a_time_have_their_own_ports_pass_the_exit_code_on_and_leave_nothing(open_tmp):
    stacks = [start(open_tmp, ASK + f"exit {code}") for code in (0, 3)]
    used = [port for stack in stacks for port in ports(stack)]

    assert [stack.wait(60) for stack in stacks] == [0, 3]
    assert len(set(used)) == 4
    assert not [port for port in used if answers(port)]
    assert not list(open_tmp.glob("stack-*"))


def test_of_two_that_need_a_copy_of_the_servers_programs_the_slower_takes_the_others(tmp_path, monkeypatch):
    """As root, from a checkout that is closed to others."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    slower, *quicker = (Postgres(tmp_path, 0, "") for _ in range(2))

    def copytree(source, to):
        while quicker:
            quicker.pop()._copied_wheel()
        to.mkdir(parents=True)

    monkeypatch.setattr(shutil, "copytree", copytree)
    assert [slower._copied_wheel()] == list(tmp_path.iterdir())


def test_a_command_that_is_interrupted_leaves_nothing(open_tmp):
    stack = start(open_tmp, ASK + "sleep 60")
    used = ports(stack)
    assert all(answers(port) for port in used)

    stack.send_signal(signal.SIGTERM)

    assert stack.wait(60) == 143
    assert not [port for port in used if answers(port)]
    assert not list(open_tmp.glob("stack-*"))


def test_a_stack_that_is_killed_takes_its_servers_with_it(open_tmp):
    stack = start(open_tmp, ASK + "sleep 60")
    used = ports(stack)

    stack.kill()

    until(lambda: not [port for port in used if answers(port)], 20, "the servers being gone")


def test_an_api_server_that_goes_down_comes_back_on_its_port(open_tmp):
    """PostgreSQL takes it down when it crashes, as it does now and then under libfaketime."""
    stack = start(open_tmp, ASK + "sleep 60")
    port, _ = ports(stack)
    before = servers(stack)

    os.kill(before[0], signal.SIGKILL)

    until(lambda: before != servers(stack) != [] and answers(port), 60, "another one in its place")
    stack.terminate()
    stack.wait(60)


def test_the_database_asks_for_a_password_and_runs_without_the_groups_of_root(stack, db):
    url = stack["DATABASE_URL"]
    password = urlsplit(url).password
    for wrong in (url.replace(f":{password}@", "@"), url.replace(f":{password}@", ":guess@")):
        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(wrong, passfile="/dev/null")
    status = Path(f"/proc/{one(db, 'select pg_backend_pid()')}/status").read_text()
    fields = dict(line.split(":", 1) for line in status.splitlines())
    ours = {0} if os.geteuid() == 0 else set()
    assert not ours & {int(number) for name in ("Uid", "Gid", "Groups") for number in fields[name].split()}


def test_its_logs_and_keys_are_for_their_owner(open_tmp):
    stack = start(open_tmp, ASK + "sleep 60")
    ports(stack)
    [directory] = open_tmp.glob("stack-*")
    private = [directory / "postgres.log", directory / "api" / "api.log", directory / "api/supabase/config.toml"]
    assert not [path for path in private if path.stat().st_mode & 0o077]
    stack.send_signal(signal.SIGTERM)
    stack.wait(60)
