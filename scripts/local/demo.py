"""Runs the daemon as in production beside demo.mjs, then asks the database whether all went as it should.

--stay: beside showcase.mjs and the pages, until somebody ends it.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from local.api import NODE, ROOT
from local.pages import Pages
from local.postgres import free_port
from local.stack import tidy_up_when_ended
from local.supervised import Supervised

# The daemon hears of new rows through Realtime, which the local stack does not have: so it looks often.
DAEMON = {"GATEWAY": "mock", "REALTIME": "off", "POLL_INTERVAL_SECONDS": "1"}
NEEDED = ("SUPABASE_URL", "SUPABASE_SERVICE_ROLE_KEY")

PROOF = """
select
    (select count(*) from scheduled_messages where status = 'sent') as sent,
    (select count(*) from broadcast_messages where status = 'sent') as handed_over,
    (
        select round(extract(epoch from sent_at - scheduled_at) * 1000) from scheduled_messages
        where status = 'sent' order by scheduled_at desc limit 1
    ) as late_ms,
    (
        select to_char(scheduled_at at time zone timezone, 'YYYY-MM-DD HH24:MI') || ' in ' || timezone
        from scheduled_messages where status = 'pending' and series_id is not null
    ) as next
"""


def main() -> int:
    if sys.argv[1:] == ["--stay"]:
        tidy_up_when_ended()
        # A shell that starts it in the background has it ignore Ctrl-C.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        return stay()
    started = time.monotonic()
    with Supervised({name: os.environ[name] for name in NEEDED} | DAEMON) as daemon:
        await_start(daemon)
        print(f"A local Supabase answers at {os.environ['SUPABASE_URL']}; supervisord runs the daemon (mock gateway).")
        if subprocess.run([str(NODE), str(ROOT / "scripts" / "demo.mjs")]).returncode:
            print(f"\nThe daemon's log:\n{daemon.log}", file=sys.stderr)
            return 1
        stopped = daemon.ctl("stop", "all")
    return judge(stopped, time.monotonic() - started)


@contextmanager
def showcase() -> Iterator[tuple[Pages, dict[str, str]]]:
    """The daemon, the pages, and who has what to see there: `email`, `password`, ids; and the `operators` page."""
    port = str(free_port())
    environment = {name: os.environ[name] for name in NEEDED} | DAEMON | {"HTTP_PORT": port}
    with (
        Supervised(environment) as daemon,
        Pages(os.environ["SUPABASE_URL"], os.environ["SUPABASE_ANON_KEY"], 0, f"http://127.0.0.1:{port}") as pages,
    ):
        await_start(daemon)
        done = subprocess.run([str(NODE), str(ROOT / "scripts" / "showcase.mjs")], stdout=subprocess.PIPE, check=True)
        who = json.loads(done.stdout)
        pages.guest = (who["email"], who["password"])
        yield pages, who | {"operators": f"http://127.0.0.1:{port}"}


def stay() -> int:
    with showcase() as (pages, who):
        print(
            f"Open {pages.url}/demo\n\n"
            "It signs you in as somebody with contacts, messages that go out within a minute, series, a failure with\n"
            "advice, a campaign that begins in half a minute, a connection at its daily limit, and a hospital whose\n"
            "appointments remind. The mock gateway sends, so nobody gets anything.\n"
            f"Elsewhere, sign in at {pages.url} as {who['email']} with the password: {who['password']}\n"
            f"What an operator sees of the daemon: {who['operators']}\n\n"
            "Ctrl-C ends it, and nothing is left.",
            flush=True,
        )
        signal.pause()
    return 0


def await_start(daemon: Supervised) -> None:
    deadline = time.monotonic() + 30
    while '"event": "started"' not in daemon.log:
        if time.monotonic() > deadline:
            raise SystemExit(f"demo: the daemon did not start:\n{daemon.log}")
        time.sleep(0.05)


def judge(stopped: str, seconds: float) -> int:
    """Says what was proved, from the database's point of view."""
    with psycopg.connect(os.environ["DATABASE_URL"]) as db:
        row = db.execute(PROOF).fetchone()
    assert row
    sent, handed_over, late_ms, following = row
    good = (sent, handed_over) == (4, 4) and following and stopped.endswith("stopped")
    print(
        f"\n{'As expected' if good else 'NOT as expected'}, in {seconds:.0f} s: {sent} messages were sent, each once "
        f"({handed_over} sends in all), the one due later {late_ms} ms after its time; the next of the daily one waits "
        f"for {following}; the bad number was refused with advice, the cancelled message never sent, and the daemon "
        "stopped when it was told to."
    )
    return 0 if good else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
