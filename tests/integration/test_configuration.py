"""What the operator gets to see: refusals of a configuration, and the log."""

import socket

from tests.helpers.counting_gateway import CountingGateway
from tests.helpers.http_server import Reply
from tests.helpers.polling import until
from tests.helpers.rows import add_connections, message, schedule, settled

GARBAGE = {
    "SUPABASE_URL": "ftp://nowhere",
    "SUPABASE_SERVICE_ROLE_KEY": "",
    "POLL_INTERVAL_SECONDS": "soon",
    "BATCH_SIZE": "5000",
    "CONCURRENCY": "-1",
    "DEFAULT_TIMEZONE": "Mars/Olympus",
    "DEFAULT_COUNTRY_CODE": "Atlantis",
    "GATEWAY": "pigeon",
    "HTTP_PORT": "99999",
    "WAHA_API_KEY_FILE": "/nowhere/secret",
}


def test_a_garbage_configuration_exits_78_and_names_every_fault(daemon):
    worker = daemon(**GARBAGE)

    assert worker.wait() == 78
    assert [name for name in GARBAGE if name not in worker.text] == []
    assert "pigeon" not in worker.text, "a value may be a secret in the wrong place"
    assert "Traceback" not in worker.text


def test_a_missing_configuration_exits_78(daemon):
    worker = daemon(SUPABASE_URL="", SUPABASE_SERVICE_ROLE_KEY="", GATEWAY="")

    assert worker.wait() == 78
    for name in ("SUPABASE_URL", "SUPABASE_SERVICE_ROLE_KEY", "GATEWAY"):
        assert name in worker.text


def test_a_port_that_is_taken_exits_78(daemon):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        worker = daemon(HTTP_PORT=taken.getsockname()[1])

        assert worker.wait() == 78
    assert "HTTP_PORT" in worker.text
    assert "Traceback" not in worker.text


def test_a_lease_that_is_shorter_than_the_gateways_time_out_exits_78(daemon):
    worker = daemon(GATEWAY="mock", MOCK_DELAY_MS=10_000, LEASE_SECONDS=5)

    assert worker.wait() == 78
    assert "LEASE_SECONDS" in worker.text


def test_the_log_is_json_lines_without_keys_texts_or_whole_numbers(db, daemon, stack):
    add_connections(db, "shop")
    text, number = "Strictly between us", "919812345678"
    for contact in (f"+{number}", f"{number}@c.us", "+99987654321012", "Dr. Strictly"):
        schedule(db, message=text, contact_id=contact)
    refused = schedule(db, message=text, contact_id=f"+{number}", type="image", media_url="https://example.com/x.png")

    def refuse(_, received):
        return Reply(400, {"message": [f"Could not send to {number}"]}) if "Image" in received.path else None

    with CountingGateway(behaviour=refuse) as gateway:
        worker = daemon(GATEWAY="waha", WAHA_URL=gateway.url, WAHA_API_KEY="waha-secret-key", RETRY_ATTEMPTS=1)
        until(lambda: settled(db), 30, lambda: worker.text)
        assert worker.stop() == 0

    assert message(db, refused)["status"] == "failed"
    assert all({"event", "level", "timestamp"} <= set(line) for line in worker.lines)
    assert len(worker.said("sent")) == 2
    assert all(isinstance(line["late_ms"], int) and line["message"] for line in worker.said("sent"))
    secrets = [stack["SUPABASE_SERVICE_ROLE_KEY"], "waha-secret-key", text, number, number[2:], "99987654321012"]
    assert [secret for secret in secrets if secret in worker.text] == []
    assert worker.said("sent")[0]["to"].startswith("…5678"), "operators need the end of a number"
