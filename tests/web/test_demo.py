"""./scripts/demo --stay, and the pages as the README's pictures show them."""

import os
import re
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime

import pytest

from local.api import ROOT
from local.pictures import SHOWN, unfit
from local.postgres import dies_with_parent
from tests.web.desk import PHONE


@pytest.fixture
def demo(stack, db):
    """The first address that it prints, while it runs."""
    running = subprocess.Popen(
        [sys.executable, "-m", "local.demo", "--stay"],
        env={**os.environ, **stack, "PYTHONPATH": str(ROOT / "scripts")},
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=dies_with_parent(signal.SIGTERM),
    )
    assert running.stdout
    yield re.search(r"http://\S+/demo", running.stdout.readline())[0]
    running.send_signal(signal.SIGINT)
    assert running.wait(60) == 130


def in_two_hours() -> str:
    """The day in Kolkata, at a full quarter of an hour: the first appointment's."""
    minutes = -(-(time.time() / 60 + 120) // 15) * 15 + 330
    return str(datetime.fromtimestamp(60 * minutes, UTC).date())


def test_a_newcomer_sees_messages_go_out_a_series_and_a_failure_with_advice(browser, demo):
    context = browser.newContext(viewport=PHONE, timezoneId="Asia/Kolkata")
    page = context.newPage()
    page.goto(demo)
    page.getByRole("button", name="Asha Rao", exact=True).waitFor()
    assert "access_token" not in page.url()
    for place, texts in {
        "messages/sent": ["is confirmed", "your medicine"],
        "messages/failed": ["too few or too many digits"],
        "messages": ["The whole series", "Waits: the daily limit of 2 messages is reached"],
        "connections": ["2 of 2 sent", "held up"],
        "templates": ["it is time for your yearly check-up"],
        "contacts/1/view": ["See you tomorrow at nine"],
        f"appointments/any/{in_two_hours()}": ["Confirmation", "full phone number", "visited"],
        "campaigns": ["Next year", "6 recipients · 5 sent · 1 skipped"],  # it begins after half a minute
    }.items():
        page.goto(demo.replace("/demo", f"/#/{place}"))
        for text in texts:
            page.getByText(text).first().waitFor(timeout=60_000)
        assert unfit(page) == [], place
    assert context.said() == []
    context.close()


def test_the_readme_has_its_pictures():
    assert {path.name for path in (ROOT / "docs").glob("pages-*.png")} == set(SHOWN)
