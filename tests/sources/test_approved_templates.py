"""A campaign with an approved template of the Cloud API: what is checked before it starts, and what holds it later."""

from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from tests.delivery.cloud_stub import CloudStub
from tests.helpers.rows import one
from tests.helpers.webhooks import told_of_template
from tests.sources.conftest import Shop, soon, take_forward
from worker.daemon import Parts, _hear
from worker.errors import WorkerError
from worker.http.webhook import parse_updates

CLOUD = {"name": "visit", "language": "en_US", "parameters": ["name", "day"]}
LISTED = {
    "name": "visit", "language": "en_US", "status": "APPROVED", "category": "MARKETING",
    "parameter_format": "POSITIONAL", "components": [{"type": "BODY", "text": "Dear {{1}}, we open on {{2}}."}],
}  # fmt: skip
OTHERS = [{**LISTED, "name": f"other_{n}"} for n in range(4)]  # so that there is more than a page

Daemon = Callable[..., Awaitable[Parts]]


@pytest.fixture
def cloud() -> Iterator[CloudStub]:
    with CloudStub() as stub:
        stub.templates = [*OTHERS, LISTED]
        yield stub


@pytest.fixture
def by_cloud(parts: Daemon, cloud: CloudStub) -> Daemon:
    """await by_cloud(): a daemon whose gateway is the Cloud API, and that has read the list of templates."""

    async def build(**settings: Any) -> Parts:
        given = {"gateway": "cloud", "whatsapp_phone_number_id": "1066", "whatsapp_access_token": "t"}
        account = {"whatsapp_business_account_id": "1022", "whatsapp_api_base": cloud.url}
        daemon = await parts(**{**given, **account, **settings})
        await daemon.approvals.read()
        return daemon

    return build


def templated(shop: Shop, **columns: Any) -> dict[str, Any]:
    """A campaign's columns: one whose template has an approved one."""
    cloud = {**CLOUD, **columns}
    template = shop.template("Dear {name}, see you on {day}", cloud=cloud, defaults={"day": "Monday"})
    return {"template_id": template, "message": ""}


async def test_the_list_is_read_page_by_page_and_replaces_what_was_known(shop, cloud, by_cloud):
    daemon = await by_cloud()
    assert cloud.lists == 3
    cloud.templates = [LISTED]
    await daemon.approvals.read()
    assert one(shop.db, "select array_agg(name) from private.approved_templates") == ["visit"]


async def test_its_messages_are_sent_as_the_approved_template_with_each_ones_values(shop, cloud, by_cloud):
    shop.contacts(2)
    campaign = shop.campaign(**templated(shop))
    await take_forward(await by_cloud())
    assert shop.run(campaign)["status"] == "completed"
    sent = [body["template"] for _, body in cloud.received]
    assert sent == [
        {
            "name": "visit", "language": {"code": "en_US"},
            "components": [
                {
                    "type": "body",
                    "parameters": [{"type": "text", "text": f"Name {n}"}, {"type": "text", "text": "Monday"}],
                }
            ],
        }
        for n in range(2)
    ]  # fmt: skip
    assert [m["message"] for m in shop.messages(campaign)] == [f"Dear Name {n}, see you on Monday" for n in range(2)]


@pytest.mark.parametrize(
    ("listed", "cloud_columns", "words"),
    [
        ({"name": "another"}, {}, 'WhatsApp has no template "visit" (en_US)'),
        ({"language": "en"}, {}, 'WhatsApp has no template "visit" (en_US)'),
        ({"status": "PAUSED"}, {}, "does not send the template \"visit\" (en_US) at this time: it is paused."),
        ({"status": "REJECTED", "rejected_reason": "INVALID_FORMAT"}, {}, "it is rejected (invalid format)."),
        ({"status": "PENDING_DELETION"}, {}, "it is pending deletion."),
        ({}, {"parameters": ["name"]}, "has 2 places in its text, and it is given 1 values"),
        ({}, {"format": "named"}, "takes its values by their places: set its format to positional"),
        (
            {"parameter_format": "NAMED", "components": [{"type": "BODY", "text": "{{name}} {{doctor}}"}]},
            {"format": "named"},
            "also needs {doctor}",
        ),
        ({}, {"header": {"type": "image", "link": "https://e.com/a.png"}}, "has nothing as its header, and it is"),
        (
            {"components": [*LISTED["components"], {"type": "HEADER", "format": "VIDEO"}]},
            {},
            "has video as its header, and it is given nothing",
        ),
    ],
)  # fmt: skip
async def test_a_template_that_whatsapp_would_not_send_is_refused_when_the_campaign_is_activated(
    shop, cloud, by_cloud, listed, cloud_columns, words
):
    shop.contacts(1)
    cloud.templates = [{**LISTED, **listed}]
    await by_cloud()
    said = shop.refusal(**templated(shop, **cloud_columns))
    assert words in said


@pytest.mark.parametrize(
    "listed",
    [
        {"language": "en-US"},
        {"components": [*LISTED["components"], {"type": "HEADER", "format": "TEXT", "text": "We open"}]},
    ],
)
async def test_what_whatsapp_would_send_is_not_refused(shop, cloud, by_cloud, listed):
    shop.contacts(1)
    cloud.templates = [{**LISTED, **listed}]
    await by_cloud()
    assert shop.campaign(**templated(shop), scheduled_at=soon(600))["status"] == "scheduled"


@pytest.mark.parametrize("why", ["another gateway", "nothing was read", "no approved template"])
async def test_where_it_does_not_matter_nothing_is_refused(shop, cloud, by_cloud, parts, why):
    shop.contacts(1)
    cloud.templates = []
    columns = templated(shop)
    if why == "another gateway":
        await by_cloud()
        shop.settings(gateway="waha")
    elif why == "no approved template":
        await by_cloud()
        columns = {"template_id": shop.template("Dear {name}"), "message": ""}
    assert shop.campaign(**columns, scheduled_at=soon(600))["status"] == "scheduled"


async def test_a_value_that_the_approved_template_needs_is_a_fault_although_the_text_may_lack_it(shop, by_cloud):
    await by_cloud()
    shop.contacts(1)
    shop.db.execute("insert into contacts (owner_id, phone_number, labels) values (%s, '+919876500001', '{gold}')",
                    (shop.user.id,))  # fmt: skip
    template = shop.template("Hello", cloud=CLOUD, defaults={"day": "Monday"}, on_missing="blank")
    campaign = shop.campaign(template_id=template, message="")
    daemon = await by_cloud()
    await take_forward(daemon)
    run = shop.run(campaign)
    assert (run["sent"], run["skipped"]) == (1, 1)
    faults = shop.db.execute("select fault from campaign_recipients where fault is not null").fetchall()
    assert [row["fault"] for row in faults] == ["No value for {name}."]


async def test_a_template_that_is_paused_holds_the_run_and_says_so_and_it_goes_on_when_it_is_approved(
    shop, cloud, by_cloud
):
    shop.contacts(120)
    shop.settings(messages=1, period_seconds=60)
    daemon = await by_cloud()
    campaign = shop.campaign(**templated(shop))
    await take_forward(daemon, send=False)

    await _hear(daemon, parse_updates(told_of_template(event="PAUSED")))

    held = shop.seen(campaign)
    assert held["status"] == "paused"
    words = 'WhatsApp does not send the template "visit" (en_US) at this time: it is paused.'
    assert held["status_reason"].startswith(words)
    assert shop.run(campaign)["status_reason"].startswith(words)
    waiting = [m for m in shop.messages(campaign) if m["status"] == "pending"]
    assert len(waiting) == 50
    assert all(m["waiting_reason"].startswith(words) for m in waiting)
    answer = shop.user.http.patch("/campaigns", params={"id": f"eq.{campaign['id']}"}, json={"status": "scheduled"})
    assert (answer.status_code, words in answer.json()["message"]) == (409, True)

    shop.db.execute("delete from connection_settings")
    await _hear(daemon, parse_updates(told_of_template(event="APPROVED")))
    assert shop.set(campaign, status="scheduled")["status"] == "scheduled"
    await take_forward(daemon)
    assert (shop.run(campaign)["sent"], len(cloud.received)) == (120, 120)


async def test_one_that_was_rejected_before_the_run_begins_keeps_it_from_beginning(shop, cloud, by_cloud):
    shop.contacts(1)
    daemon = await by_cloud()
    campaign = shop.campaign(**templated(shop), scheduled_at=soon(30))
    cloud.templates = [{**LISTED, "status": "REJECTED"}]
    await daemon.approvals.read()

    await take_forward(daemon)

    assert shop.seen(campaign)["status"] == "paused"
    assert "it is rejected" in shop.seen(campaign)["status_reason"]
    assert one(shop.db, "select count(*) from campaign_runs") == 0
    assert cloud.received == []


async def test_a_list_that_cannot_be_read_changes_nothing(shop, cloud, by_cloud):
    daemon = await by_cloud()
    known = one(shop.db, "select count(*) from private.approved_templates")
    cloud.templates = "xy"  # type: ignore[assignment]  # of which no part is a list
    with pytest.raises(WorkerError, match="no list"):
        await daemon.approvals.read()
    assert one(shop.db, "select count(*) from private.approved_templates") == known == 5


def test_reminders_bear_the_approved_template(hospital):
    cloud = {"name": "booked", "language": "en", "parameters": ["patient_name", "date"], "format": "named"}
    hospital.set_text(1, cloud=cloud)
    appointment = hospital.book()
    message = hospital.message(appointment, 1)
    names = [one["parameter_name"] for one in message["template"]["components"][0]["parameters"]]
    assert names == ["patient_name", "date"]
    hospital.change(appointment, patient_name="Asha Rao")
    first = hospital.message(appointment, 1)["template"]["components"][0]["parameters"][0]
    assert first["text"] == "Asha Rao"


async def test_a_test_to_oneself_goes_out_as_the_approved_template_too(shop, cloud, by_cloud):
    daemon = await by_cloud()
    campaign = shop.campaign(**templated(shop), status="draft")
    given = {"campaign_id": campaign["id"], "address": "+919876500009"}
    shop.user.http.post("/rpc/send_test", json=given).raise_for_status()
    await daemon.scheduler.poll()
    await daemon.dispatcher.send_all()
    [(_, body)] = cloud.received
    assert body["template"]["name"] == "visit"
    assert [one["text"] for one in body["template"]["components"][0]["parameters"]] == ["{name}", "Monday"]


async def test_who_can_send_through_the_cloud_api_sees_what_is_approved(shop, cloud, by_cloud, user):
    cloud.templates = [*OTHERS, {**LISTED, "name": "rejected", "status": "REJECTED"}, LISTED]
    await by_cloud()

    def seen(somebody, connection_id=None):
        answer = somebody.http.post("/rpc/approved_templates", json={"connection_id": connection_id})
        return {row["name"]: row["places"] for row in answer.raise_for_status().json()}

    names = {one["name"] for one in (*OTHERS, LISTED)}
    assert set(seen(shop.user)) == set(seen(shop.user, shop.connection)) == names
    assert seen(shop.user)["visit"] == ["1", "2"]
    other = user()
    settings = "insert into connection_settings (connection_id, gateway) values (%s, 'mock')"
    shop.db.execute(settings, (other.connection_id,))
    assert seen(other) == seen(other, shop.connection) == seen(shop.user, other.connection_id) == {}
