"""A real Node worker as a process, and what it has said."""

import json
import subprocess
from pathlib import Path
from typing import Any

from local.api import NODE
from tests.helpers.polling import until
from tests.helpers.process import environment

SCRIPT = Path(__file__).with_name("broadcast_worker.mjs")


class NodeWorker:
    """library: "bullmq5" or "bullmq6". key: whom it writes the tables as. more: what else its script is told."""

    def __init__(self, library: str, redis_url: str, stack: dict[str, str], key: str, log: Path, **more: str) -> None:
        self.log = log
        given = {"SUPABASE_URL": stack["SUPABASE_URL"], "SUPABASE_KEY": key, **more}
        with log.open("wb") as out:
            self.process = subprocess.Popen(
                [str(NODE), str(SCRIPT), library, redis_url], env=environment(given), stdout=out, stderr=out
            )
        until(lambda: self.told("ready"), 20, "the Node worker being ready")

    def told(self, event: str) -> list[Any]:
        """The values of this event, in order."""
        said = self.log.read_text().splitlines(keepends=True)
        lines = [json.loads(line) for line in said if line.startswith("{") and line.endswith("\n")]
        return [line[event] for line in lines if event in line]

    @property
    def sent(self) -> list[str]:
        """Whom it has sent to: digits."""
        return self.told("sent")

    def kill(self) -> None:
        """It dies without a word; BullMQ finds its jobs stalled."""
        self.process.kill()
        self.process.wait(20)

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
        self.process.wait(20)
