"""`sql/` goes forward only: on two machines the daemon and the database are never replaced at one instant.

The daemon of the commit before the last one that changed `sql/` works on the database as it is now.
"""

import io
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.helpers.counting_gateway import CountingGateway
from tests.helpers.polling import until
from tests.helpers.process import ROOT, Worker, environment
from tests.helpers.rows import Database, message, one, schedule
from tests.sources.conftest import Shop

PHOTO = "https://example.com/photo.jpg"


def git(*arguments: str) -> bytes:
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, check=True).stdout


@pytest.fixture(scope="module")
def former(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the package `worker` as it was."""
    try:
        changed = git("log", "-1", "--format=%H", "--", "sql/*.sql").decode().strip()
        package = git("archive", f"{changed}~1", "worker")
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this checkout has no history")
    place = tmp_path_factory.mktemp("former")
    with tarfile.open(fileobj=io.BytesIO(package)) as files:
        files.extractall(place, filter="data")
    return place


@pytest.fixture
def former_daemon(former: Path, stack: dict[str, str], tmp_path: Path) -> Callable[..., Worker]:
    def start(**overrides: str) -> Worker:
        values = {"REALTIME": "off", "POLL_INTERVAL_SECONDS": "1", **overrides}
        env = environment(stack, values) | {"PYTHONPATH": str(former)}
        of = [sys.executable, "-c", "import worker; print(worker.__file__)"]
        loaded = subprocess.run(of, env=env, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
        assert Path(loaded.strip()).is_relative_to(former), "this would be the daemon as it is now"
        return Worker("run", env, tmp_path)

    return start


def test_the_daemon_of_the_state_before_does_all_of_its_work(db: Database, shop: Shop, former_daemon) -> None:
    shop.contacts(25)
    series = schedule(
        db, connection_id=shop.connection, is_recurring=True, recurrence_pattern="daily", timezone="Asia/Kolkata"
    )
    photo = schedule(db, connection_id=shop.connection, type="image", media_url=PHOTO, caption="Look")
    nobody = schedule(db, connection_id=shop.connection, contact_id="nobody")
    with CountingGateway() as gateway:
        worker = former_daemon(GATEWAY="waha", WAHA_URL=gateway.url)
        run = "select status from campaign_runs where campaign_id = %s"
        try:
            worker.until_said("started")
            campaign = shop.campaign()
            until(
                lambda: message(db, series)["status"] == message(db, photo)["status"] == "sent", 30, lambda: worker.text
            )
            until(lambda: message(db, nobody)["status"] == "failed", 30, lambda: worker.text)
            until(
                lambda: [row["status"] for row in db.execute(run, (campaign["id"],))] == ["completed"],
                60,
                lambda: worker.text,
            )
        finally:
            code = worker.stop()

    assert code == 0, worker.text
    following = "select status from scheduled_messages where series_id = %s and id <> %s"
    assert one(db, following, message(db, series)["series_id"], series) == "pending"
    assert one(db, "select sent from campaign_runs") == 25
    assert len(gateway.received) == 27
    assert not [line for line in worker.lines if line["level"] in ("error", "critical")], worker.text
