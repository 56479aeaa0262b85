"""Redis gone and back, its data lost: jobs for the Node worker are added again, and each runs once."""

import json
import subprocess
import threading
from collections import Counter

from local.api import NODE
from local.postgres import free_port
from local.redis import redis_server
from tests.chaos.town import Town, Verdict, size
from tests.helpers.polling import until
from tests.helpers.process import ROOT

CONSUMER = ROOT / "tests" / "gateways" / "node_consumer.mjs"
HANDED_OVER = "select count(*) as n from broadcast_jobs where status = 'handed_over'"
DONE = """
    with done as (
        update broadcast_jobs set status = 'completed' where id = any(%s::uuid[]) and status <> 'completed' returning id
    )
    update broadcast_messages as m set status = 'sent', sent_at = now() from done where m.job_id = done.id
"""


class NodeWorker:
    """The application's broadcast worker, as far as the queue sees it. `got`: how often it ran which job."""

    def __init__(self, town: Town, port: int) -> None:
        self.town, self.got = town, Counter[str]()
        command = [str(NODE), str(CONSUMER), "bullmq5", "127.0.0.1", str(port), "broadcast", "bull"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        threading.Thread(target=self._follow, daemon=True).start()

    def _follow(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            if job := json.loads(line).get("got"):
                self.got[job["id"]] += 1

    def is_done(self) -> bool:
        """Writes down what it did, as the application does. Whether nothing is left to do."""
        self.town.query(DONE, list(self.got.copy()))
        return self.town.open == 0

    def end(self) -> None:
        self.process.kill()
        self.process.wait()


def test_redis_is_killed_and_comes_back_empty(town, note, tmp_path):
    """What it had is added again when the hand-over expires; what it missed waits until it is back."""
    port, count = free_port(), size(20, 1000)
    with redis_server(tmp_path, port) as redis:
        daemon = town.start(GATEWAY="bullmq", REDIS_URL=f"redis://127.0.0.1:{port}", HANDOVER_SECONDS=10)
        town.write(count)
        until(lambda: town.count(HANDED_OVER) == count, 60, "all being handed over")
        redis._process.kill()
    town.write(count)
    until(lambda: "Redis cannot be reached" in daemon.text, 20, "the daemon noticing it")

    with redis_server(tmp_path, port):
        worker = NodeWorker(town, port)
        try:
            until(worker.is_done, 90, "all jobs having run")
        finally:
            worker.end()

    rows = town.query("select status, message_id, error, broadcast_job_id::text as job from scheduled_messages")
    assert worker.got == Counter(row["job"] for row in rows)
    assert all((row["status"], row["message_id"], row["error"]) == ("sent", row["job"], None) for row in rows)
    assert daemon.process.poll() is None
    note("Redis killed, back without its data", Verdict(len(rows), len(rows), 0, 0, worker.got.total()))
