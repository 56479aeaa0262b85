"""A log that cannot be written: on a full disk nothing changes but the log; a log that blocks ends the daemon."""

import fcntl
import os

import httpx

from local.postgres import free_port
from tests.chaos.town import CONCURRENCY, Town, health, size
from tests.helpers.polling import until
from worker.watch.watchdog import EXIT_STUCK

LOG = "run-1.log"  # what the first daemon's log is called where this exists already
PATIENCE = 3  # seconds


def test_a_full_disk_costs_lines_and_no_messages(town, note):
    (town.directory / LOG).symlink_to("/dev/full")
    daemon = town.start()
    count = size(40, 1000)
    town.write(count)
    town.until_settled(60)

    verdict = town.verdict()
    assert verdict.sent == count
    assert daemon.process.poll() is None
    note("the disk for the log is full", verdict)


def blocked_log(town: Town) -> int:
    """The reading end of a small pipe that takes the place of the log."""
    os.mkfifo(town.directory / LOG)
    end = os.open(town.directory / LOG, os.O_RDONLY | os.O_NONBLOCK)
    fcntl.fcntl(end, fcntl.F_SETPIPE_SZ, 4096)
    return end


def test_a_daemon_that_is_stuck_says_so_to_its_watchers_and_ends(town, tmp_path, note):
    """Nobody reads its log, so at some point it waits for ever in the middle of a line."""
    (tmp_path / "sitecustomize.py").write_text(f"import worker.watch.vitals\nworker.watch.vitals.LEAST = {PATIENCE}\n")
    port, end = free_port(), blocked_log(town)
    daemon = town.start(HTTP_PORT=port, PYTHONPATH=tmp_path)
    until(lambda: health(port).status_code == 200, 20, "a healthy start")
    town.write(size(100, 1000))

    until(lambda: health(port).status_code == 503, 20, "an unhealthy daemon")
    reasons = health(port).json()["problems"]
    assert any("has made no progress" in reason for reason in reasons), reasons
    assert "scheduled_messages_claimed_total" in httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False).text
    assert daemon.wait(PATIENCE + 10) == EXIT_STUCK
    os.close(end)

    (town.directory / LOG).unlink()
    town.start()
    town.until_settled(60)
    verdict = town.verdict()
    assert verdict.unconfirmed <= 2 * CONCURRENCY
    note("stuck for good, ended by its watchdog, another one started", verdict, kills=1)
