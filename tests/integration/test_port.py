"""HTTP_PORT of a real daemon: who may read it, with the real auth server, and what strangers can take from it."""

import resource
import socket
from contextlib import ExitStack

import httpx
import pytest

from local.postgres import free_port
from tests.helpers.polling import until
from tests.helpers.rows import add_connections, message, schedule

TOKEN = "an operator's token"
PREVIEW = "/preview?start=2026-01-01T09:00&pattern=FREQ=YEARLY;INTERVAL=7;COUNT=2000&timezone=Asia/Kolkata&count=1000"


@pytest.fixture
def port():
    return free_port()


def client(port, token=None):
    headers = {"authorization": f"Bearer {token}"} if token else {}
    return httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, trust_env=False)


def until_it_answers(port):
    def answers():
        try:
            return httpx.get(f"http://127.0.0.1:{port}/healthz", trust_env=False).status_code == 200
        except httpx.TransportError:
            return False

    until(answers, 20, "an answer")


def test_a_webhook_s_secret_makes_the_port_public_and_a_user_s_token_opens_the_preview(daemon, port, stack, user):
    ben = user()
    daemon(HTTP_PORT=port, HTTP_TOKEN=TOKEN, WHATSAPP_APP_SECRET="secret", WHATSAPP_VERIFY_TOKEN="verify")
    until_it_answers(port)
    codes = {}
    tokens = {"nobody": None, "ben": ben.token, "forger": ben.token[:-4] + "AAAA", "operator": TOKEN}
    tokens["anon key"] = stack["SUPABASE_ANON_KEY"]
    for name, token in tokens.items():
        with client(port, token) as http:
            codes[name] = [http.get(path).status_code for path in (PREVIEW, "/metrics")]
            health = http.get("/healthz").json()
            assert (health == {"ok": True}) is (name != "operator")
    assert codes == {
        "nobody": [401, 401], "ben": [200, 401], "forger": [401, 401], "operator": [200, 200], "anon key": [401, 401],
    }  # fmt: skip
    with client(port, ben.token) as http:
        assert 429 in {http.get(PREVIEW).status_code for _ in range(20)}


def test_strangers_who_hold_every_connection_keep_no_message_from_being_sent(daemon, port, db):
    add_connections(db, "shop")
    worker = daemon(HTTP_PORT=port, POLL_INTERVAL_SECONDS=1)
    until_it_answers(port)
    resource.prlimit(worker.process.pid, resource.RLIMIT_NOFILE, (256, 256))
    with ExitStack() as held:
        for _ in range(300):
            held.enter_context(socket.create_connection(("127.0.0.1", port), 5))
        row_id = schedule(db)
        until(lambda: message(db, row_id)["status"] == "sent", 20, "the message being sent")
        until_it_answers(port)
