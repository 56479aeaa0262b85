"""supervisord.conf as it stands at the top of the checkout, with the real supervisord."""

import os
import signal

import pytest

from local.supervised import Supervised
from tests.helpers.polling import until
from tests.helpers.process import environment
from tests.helpers.rows import add_connections, message, schedule


@pytest.fixture
def supervised(stack):
    running = []

    def start(**overrides):
        env = environment(stack, {"GATEWAY": "mock", "REALTIME": "off", "POLL_INTERVAL_SECONDS": "1"}, overrides)
        running.append(Supervised(env).__enter__())
        return running[-1]

    yield start
    for one in running:
        one.__exit__()


def until_state(supervisor, state, seconds=30.0):
    until(lambda: supervisor.state() == state, seconds, f"{state}; its log:\n{supervisor.log}")


def until_sent(db, supervisor):
    row = schedule(db)
    until(lambda: message(db, row)["status"] == "sent", 20, f"a message being sent; its log:\n{supervisor.log}")


def test_it_runs_sends_restarts_after_a_crash_restarts_when_told_and_stops_gracefully(db, supervised):
    add_connections(db, "shop")
    supervisor = supervised()
    until_sent(db, supervisor)
    until_state(supervisor, "RUNNING")

    crashed = supervisor.pid()
    os.kill(crashed, signal.SIGKILL)
    until(lambda: supervisor.pid() not in (0, crashed), 15, "another process")
    until_sent(db, supervisor)

    assert supervisor.ctl("restart", "all").splitlines() == ["worker:worker_00: stopped", "worker:worker_00: started"]
    until_sent(db, supervisor)
    assert '"event": "sent"' in supervisor.ctl("tail", "worker:worker_00")

    assert supervisor.ctl("stop", "all") == "worker:worker_00: stopped"
    assert supervisor.state() == "STOPPED"
    assert '"event": "stopped"' in supervisor.log.splitlines()[-1]


def test_a_configuration_fault_ends_fatal_instead_of_looping(supervised):
    supervisor = supervised(SUPABASE_URL="nonsense")

    until_state(supervisor, "FATAL", 60)

    assert "SUPABASE_URL: must be an address" in supervisor.ctl("tail", "worker:worker_00")
