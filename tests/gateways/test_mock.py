"""The mock, and how a gateway is found by its name."""

import time
from collections import Counter
from types import SimpleNamespace

import pytest

from worker.errors import ConfigError
from worker.gateway import build
from worker.gateway.mock import Mock
from worker.kinds import KINDS
from worker.models import Message, Rejected, Sent

SETTINGS = {
    "concurrency": 20, "lease_seconds": 60.0, "link_previews": False, "mock_failure_rate": 0.0, "mock_delay_ms": 250.0,
    "whatsapp_phone_number_id": "1066", "whatsapp_access_token": "t",
    "whatsapp_api_base": "https://graph.facebook.com/v25.0",
    "waha_url": "http://waha:3000", "waha_api_key": None, "waha_check_numbers": True,
    "evolution_url": "http://evolution:8080", "evolution_api_key": "k",
    "wppconnect_url": "http://wpp:21465", "wppconnect_token": "t", "wppconnect_secret_key": None,
    "redis_url": "redis://localhost:6379", "bullmq_queue": "broadcast", "bullmq_prefix": "bull",
    "bullmq_job": "broadcast",
}  # fmt: skip


async def test_every_message_gets_an_id_of_its_own(message: Message) -> None:
    outcomes = [await Mock().send(message) for _ in range(100)]
    ids = {outcome.message_id for outcome in outcomes if isinstance(outcome, Sent)}
    assert len(ids) == 100
    assert all(i.startswith("mock-") for i in ids)


async def test_the_failure_rate_is_kept(message: Message) -> None:
    gateway = Mock(failure_rate=0.5)
    kinds = Counter([type(await gateway.send(message)) for _ in range(1000)])
    assert set(kinds) == {Sent, Rejected}
    assert 350 < kinds[Rejected] < 650
    assert isinstance(await Mock(failure_rate=1.0).send(message), Rejected)


async def test_the_delay_is_kept_within_the_time_out(message: Message) -> None:
    gateway = Mock(delay=0.05)
    started = time.perf_counter()
    await gateway.send(message)
    assert 0.05 <= time.perf_counter() - started < gateway.timeout
    assert (await gateway.check("any")).ok


@pytest.mark.parametrize("name", KINDS)
async def test_a_gateway_is_built_by_its_name_and_fits_into_any_lease(name: str) -> None:
    for lease in (5.0, 60.0):
        gateway = build(SimpleNamespace(**{**SETTINGS, "gateway": name, "lease_seconds": lease}))
        assert gateway.name == name
        assert 0 < gateway.timeout < lease
        await gateway.aclose()


def test_an_unknown_gateway_is_named_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="mock, cloud, waha, evolution, wppconnect, bullmq, not 'telegram'"):
        build(SimpleNamespace(**SETTINGS, gateway="telegram"))
