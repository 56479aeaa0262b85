"""supervisord.conf as it stands at the top of the checkout, with the real supervisord."""

import os
import signal
import urllib.request

import pytest

from local.postgres import free_port
from local.supervised import Supervised
from tests.helpers.polling import until
from tests.helpers.process import environment
from tests.helpers.rows import add_connections, message, schedule

# A blank, and all that means something in a file of supervisord's, in a path that is too long for a socket's.
BLANK = "My Apps"
ODD = '100%done; %(here)s "quoted" it\'s #1 ' + "and so long " * 8


@pytest.fixture
def supervised(stack):
    running = []

    def start(name, numprocs=1, **overrides):
        env = environment(stack, {"GATEWAY": "mock", "REALTIME": "off", "POLL_INTERVAL_SECONDS": "1"}, overrides)
        running.append(Supervised(env, name, numprocs).__enter__())
        return running[-1]

    yield start
    for one in running:
        one.__exit__()


def until_state(supervisor, state, seconds=30.0, number=0):
    until(lambda: supervisor.state(number) == state, seconds, f"{state}; its log:\n{supervisor.log}")


def until_sent(db, supervisor):
    row = schedule(db)
    until(lambda: message(db, row)["status"] == "sent", 20, f"a message being sent; its log:\n{supervisor.log}")


def test_it_runs_sends_restarts_after_a_crash_restarts_when_told_and_stops_gracefully(db, supervised):
    add_connections(db, "shop")
    supervisor = supervised(BLANK)
    until_sent(db, supervisor)
    until_state(supervisor, "RUNNING")

    crashed = supervisor.pid()
    os.kill(crashed, signal.SIGKILL)
    until(lambda: supervisor.pid() not in (0, crashed), 15, "another process")
    until_sent(db, supervisor)

    assert supervisor.ctl("restart", "all").splitlines() == ["worker:worker_00: stopped", "worker:worker_00: started"]
    until_sent(db, supervisor)
    assert '"event": "sent"' in supervisor.ctl("tail", "worker:worker_00")

    logs = [*(supervisor.directory / ".local").glob("*.log*")]
    assert {log.name for log in logs} >= {"supervisord.log", "worker_00.log"}
    assert not [log for log in logs if log.stat().st_mode & 0o007], "a log that others may read"

    assert supervisor.ctl("stop", "all") == "worker:worker_00: stopped"
    assert supervisor.state() == "STOPPED"
    assert '"event": "stopped"' in supervisor.log.splitlines()[-1]


def test_a_configuration_fault_ends_fatal_instead_of_looping_and_once_mended_it_is_started_again(db, supervised):
    add_connections(db, "shop")
    supervisor = supervised(ODD)
    faulty = supervisor.directory / ".env"
    faulty.write_text("BATCH_SIZE=many")
    supervisor.ctl("restart", "all")

    until_state(supervisor, "FATAL", 60)
    assert "BATCH_SIZE: " in supervisor.ctl("tail", "worker:worker_00")

    faulty.write_text("BATCH_SIZE=100")
    supervisor.ctl("start", "all")
    until_sent(db, supervisor)


def test_several_daemons_have_a_port_each(supervised):
    port = free_port()
    supervisor = supervised("checkout", numprocs=2, HTTP_PORT=str(port))

    for number in range(2):
        until(lambda: answers(port + number), 30, f"daemon {number}; its log:\n{supervisor.log}")  # noqa: B023


def answers(port):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=5) as answer:
            return answer.status == 200
    except OSError:
        return False
