"""What the commands say to the person who typed them."""

import subprocess
import sys
from datetime import datetime, timedelta

import pytest

from tests.helpers.http_server import HttpServer, Reply
from tests.helpers.process import environment
from tests.helpers.rows import add_connections, due_in, one
from worker.errors import WorkerError
from worker.operating import operate
from worker.operating.connection import SETTINGS

REFUSED = [
    ("messages=0 period_seconds=60", "messages=0: give a whole number from 1 to 100000"),
    ("messages=many period_seconds=60", "messages=many: give a whole number"),
    ("messages=5", "messages and period_seconds go together"),
    ("messages=5 period_seconds=60 burst=9", "burst is a whole number from 1 to that of messages"),
    ("jitter_seconds=2", "jitter_seconds needs messages and period_seconds"),
    ("daily_limit=-1", "daily_limit=-1: give a whole number from 0"),
    ("at_daily_limit=explode", "at_daily_limit=explode: give defer or fail"),
    ("warm_up_days=7", "warm_up_from, warm_up_days and warm_up_limit go together"),
    ("window_start=8h window_end=20:00", "window_start=8h: give a time of day"),
    ("window_start=08:00", "window_start and window_end go together"),
    ("gateway=pigeon", "gateway=pigeon: give mock, cloud"),
    ("country_code=India", "country_code=India: give two capital letters"),
    ("enabled=perhaps", "enabled=perhaps: give true or false"),
    ("colour=blue", "with a NAME of active"),
    ("messages", "write NAME=VALUE"),
    ("timezone=IST", "Asia/Kolkata"),
    ("timezone=UTC+5:30", "Asia/Kolkata"),
    ("timezone=foo5", "Write a name such as Asia/Kolkata"),
]


@pytest.fixture
def command(stack, db, tmp_path):
    """command("connection", "shop", …, PYTHONIOENCODING=…): the process, when it has ended."""
    add_connections(db, "shop", "till")

    def run(*arguments, **variables):
        call = [sys.executable, "-m", "worker", *arguments]
        env = environment(stack, {"GATEWAY": "mock", "REALTIME": "off"}, variables)
        return subprocess.run(call, env=env, cwd=tmp_path, capture_output=True, timeout=60)

    return run


@pytest.mark.parametrize(("changes", "words"), REFUSED)
async def test_a_refused_setting_is_told_in_words_and_nothing_changes(db, settings, changes, words):
    add_connections(db, "shop")

    with pytest.raises(WorkerError) as refused:
        await operate.connection(settings(), "shop", changes.split(), as_json=False)

    assert words in str(refused.value)
    assert "violates" not in str(refused.value)
    assert one(db, "select count(*) from connection_settings") == 0


async def test_an_empty_value_is_the_default_also_where_that_is_not_nothing(db, settings, capsys):
    add_connections(db, "shop")
    given = [name for name, setting in SETTINGS.items() if setting.default is not None]
    chosen = ["enabled=false", "active=false", "messages=5", "period_seconds=60", "burst=5", "jitter_seconds=2"]
    await operate.connection(settings(), "shop", [*chosen, "at_daily_limit=fail"], as_json=False)

    emptied = [f"{name}=" for name in [*given, "messages", "period_seconds"]]
    await operate.connection(settings(), "shop", emptied, as_json=False)

    [row] = db.execute("select * from connection_settings").fetchall()
    assert {name: row[name] for name in SETTINGS} == {name: setting.default for name, setting in SETTINGS.items()}
    assert "  at_daily_limit = defer" in capsys.readouterr().out.splitlines()


def test_a_connection_that_does_not_exist_is_said_to_be_so(command):
    done = command("connection", "nosuch", "messages=1", "period_seconds=60")

    assert done.returncode == 1
    assert "there is no connection 'nosuch': there are shop, till" in done.stderr.decode()


def test_settings_are_shown_a_line_each(command):
    command("connection", "shop", "messages=15", "period_seconds=60", "timezone=Asia/Kolkata")

    lines = command("connection", "shop").stdout.decode().splitlines()

    assert {"shop", "  messages = 15", "  timezone = Asia/Kolkata"} <= set(lines)
    assert "None" not in " ".join(lines)


def test_a_connection_is_forgotten_once_and_that_is_said(db, command):
    command("connection", "shop", "messages=15", "period_seconds=60")
    db.execute("delete from connections where id = 'shop'")

    said = [command("connection", "shop", "--forget") for _ in range(2)]

    assert [done.returncode for done in said] == [0, 0], said
    assert [done.stdout.decode() for done in said] == [
        "shop: forgotten; it starts anew\n", "shop: nothing is kept of it\n"
    ]  # fmt: skip
    assert one(db, "select count(*) from connection_settings") == 0


def test_times_are_the_readers_own_with_their_distance(db, command):
    due_in(db, 3600)

    told = command("status", TZ="Asia/Kolkata").stdout.decode()

    [line] = [line for line in told.splitlines() if line.startswith("next due: ")]
    day, clock, zone, distance = line.removeprefix("next due: ").split(" ", 3)
    due = one(db, "select scheduled_at from scheduled_messages")
    shown = datetime.fromisoformat(f"{day}T{clock}+05:30")
    assert abs(shown - due) < timedelta(seconds=1)
    assert zone == "IST"
    assert distance.startswith("(in 59 min ")


def test_a_terminal_without_the_letters_gets_its_answer_all_the_same(command):
    done = command("doctor", PYTHONIOENCODING="latin-1")

    assert b"Traceback" not in done.stderr
    assert b"Supabase answers" in done.stdout


def test_the_log_is_utf8_whatever_the_locale(db, daemon):
    add_connections(db, "caf\u00e9 \u2615")
    db.execute("insert into scheduled_messages (connection_id, contact_id, message, scheduled_at)"
               " values ('caf\u00e9 \u2615', '+919876543210', 'x', now())")  # fmt: skip
    worker = daemon("once", PYTHONIOENCODING="ascii", LC_ALL="C")
    assert worker.wait() == 0, worker.text

    assert "caf\u00e9 \u2615" in worker.log.read_text(encoding="utf-8")
    assert "\\u" not in worker.log.read_text(encoding="utf-8")


class Moved(HttpServer):
    """Answers each request with a redirect to `location` and the request's own path behind it, or just to it."""

    def __init__(self, location, *, keeps_path=True):
        super().__init__()
        self.location, self.keeps_path = location, keeps_path

    async def answer(self, request):
        path = request.path if self.keeps_path else ""
        return Reply(301, "moved", headers={"location": f"{self.location}{path}"})


@pytest.mark.parametrize("name", ["run", "once", "doctor", "status"])
def test_an_address_that_redirects_to_another_is_refused_in_one_line(command, name):
    with Moved("https://final.example") as server:
        done = command(name, SUPABASE_URL=server.url)

    assert done.returncode == 78, done
    assert b"SUPABASE_URL: the server there redirects to https://final.example: set it to that" in done.stderr


def test_a_page_that_says_to_come_back_later_is_an_outage_and_no_fault_of_the_configuration(daemon):
    with Moved("https://status.example/maintenance", keeps_path=False) as server:
        worker = daemon("run", SUPABASE_URL=server.url)
        worker.until_said("Supabase does not answer; waiting for it")

    assert worker.process.poll() is None


def test_each_setting_of_the_table_has_its_words_and_its_default(db):
    columns = db.execute("""
        select column_name as name, split_part(column_default, '::', 1) as given from information_schema.columns
        where table_name = 'connection_settings' and column_name not in ('connection_id', 'updated_at')
    """)
    given = {row["name"]: row["given"] and row["given"].strip("'") for row in columns}
    known = {
        name: setting.default if setting.default is None else str(setting.default) for name, setting in SETTINGS.items()
    }

    assert {name: default and default.lower() for name, default in known.items()} == given
