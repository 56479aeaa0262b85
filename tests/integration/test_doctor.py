"""`doctor` checks what the daemon depends on, one line each, and fails if the daemon would."""

from importlib.resources import files

import pytest

from tests.helpers.counting_gateway import CountingGateway
from tests.helpers.http_server import Reply, Request
from tests.helpers.rows import add_connections, schedule


class Phones(CountingGateway):
    """Only the sessions in `paired` work."""

    def __init__(self, *paired: str) -> None:
        super().__init__()
        self.paired = paired

    async def answer(self, request: Request) -> Reply:
        if request.path.rpartition("/")[2] in self.paired:
            return await super().answer(request)
        return Reply(body={"status": "SCAN_QR_CODE"})


@pytest.fixture
def doctor(db, daemon):
    """doctor("shop", GATEWAY=…): its exit code and its lines, with these connections in the table."""

    def examine(*connections, **settings):
        add_connections(db, *connections)
        worker = daemon("doctor", **settings)
        return worker.wait(60), worker.text

    return examine


def test_all_is_well_with_a_gateway_that_works(doctor):
    with Phones("shop") as phones:
        code, text = doctor("shop", GATEWAY="waha", WAHA_URL=phones.url)
    assert code == 0, text
    assert "failure" not in text
    assert "ok       gateway waha, shop: session WORKING" in text


def test_one_phone_that_is_not_paired_is_a_warning_and_if_none_is_a_failure(doctor):
    with Phones("shop") as phones:
        code, text = doctor("shop", "till", GATEWAY="waha", WAHA_URL=phones.url)
        assert code == 0, text
        assert "warning  gateway waha, till: session SCAN_QR_CODE" in text
        phones.paired = ()
        code, text = doctor(GATEWAY="waha", WAHA_URL=phones.url)
    assert code == 1
    assert text.count("failure  gateway waha") == 2


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"SUPABASE_URL": "http://127.0.0.1:9"}, "Supabase does not answer"),
        ({"SUPABASE_SERVICE_ROLE_KEY": "sb_secret_wrong"}, "Check SUPABASE_SERVICE_ROLE_KEY"),
        ({"GATEWAY": "waha", "WAHA_URL": "http://127.0.0.1:9"}, "gateway waha, shop"),
        ({"GATEWAY": "pigeon"}, "GATEWAY"),
    ],
)
def test_what_the_daemon_could_not_work_with_is_a_failure_and_exits_1(doctor, settings, words):
    code, text = doctor("shop", **settings)
    assert code == 1, text
    assert words in text
    assert "Traceback" not in text


def test_a_zone_of_which_the_database_says_something_else_is_named(db, doctor, tmp_path):
    """The daemon's zone files are made to disagree: Casablanca's are Berlin's."""
    berlin = files("tzdata.zoneinfo").joinpath("Europe", "Berlin").read_bytes()
    (tmp_path / "zones" / "Africa").mkdir(parents=True)
    (tmp_path / "zones" / "Africa" / "Casablanca").write_bytes(berlin)
    add_connections(db, "shop")
    for zone in ("Africa/Casablanca", "Europe/Berlin"):
        schedule(db, timezone=zone, is_recurring=True, recurrence_pattern="daily")
    code, text = doctor("shop", PYTHONTZPATH=tmp_path / "zones")
    assert code == 0, text
    assert "warning  Africa/Casablanca: in the week of " in text
    assert "Europe/Berlin:" not in text
    code, text = doctor("shop")
    assert "Africa/Casablanca:" not in text
    assert "the database agrees about Africa/Casablanca, Europe/Berlin, UTC" in text


def test_a_zone_that_is_none_and_was_there_before_is_a_failure(db, doctor):
    add_connections(db, "shop")
    db.execute("alter table scheduled_messages disable trigger name_timezone")
    schedule(db, timezone="IST", is_recurring=True, recurrence_pattern="daily", scheduled_at="2030-01-01")
    db.execute("alter table scheduled_messages enable trigger name_timezone")
    code, text = doctor("shop")
    assert code == 1
    assert "failure  1 message(s) and 0 connection(s) use a zone that is none: no such time zone: 'IST'" in text
