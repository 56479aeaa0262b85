"""What the daemon must know of a gateway before it loads it: one row for each. docs/adding-a-gateway.md.

It is no part of worker/gateway because the planning and the configuration, which stand beneath that, ask it too; and
nobody has to load a gateway to read it.
"""

from dataclasses import dataclass

from worker.models import ContentKind


@dataclass(frozen=True, slots=True)
class Kind:
    """One gateway; its module is worker/gateway/<name>.py. What the database needs of it stands there once more, in
    private.gateways, by the same names (tests/sql/test_gateways.py).

    needs: settings without which it cannot work; one of those that a bar separates is enough.
    one_at_a_time: each connection is a phone's session of its own. It sends one message after the other: several at a
        time get numbers banned.
    own_number: connections that name no sender share the one that the environment names.
    hands_over: it only puts jobs into somebody else's queue, whose worker tells what became of them.
    fetches_links: it fetches attachments from a network of ours; else WhatsApp's own servers do.
    knows_assets: it looks an `asset_id` up by itself.
    sends_templates: it sends the column `template` in place of the text, where there is one.
    takes_user_ids: it writes to business-scoped user ids.
    sends_nothing: it only marks rows as sent.
    title: what an author is told takes no more.
    text, caption: the longest, in characters.
    converts: the kinds whose files it makes playable.
    pair_seconds: between two messages to one recipient, where a connection's settings say nothing.
    messages, period_seconds, burst: the rate, where a connection's settings say nothing (None: no limit).
    """

    name: str
    needs: tuple[str, ...] = ()
    one_at_a_time: bool = False
    own_number: bool = False
    hands_over: bool = False
    fetches_links: bool = False
    knows_assets: bool = False
    sends_templates: bool = False
    takes_user_ids: bool = False
    sends_nothing: bool = False
    title: str = "WhatsApp"
    text: int = 65_536  # WhatsApp's own clients send as much, under pictures too
    caption: int = 65_536
    converts: frozenset[ContentKind] = frozenset()
    pair_seconds: float | None = None
    messages: int | None = None
    period_seconds: float | None = None
    burst: int | None = None

    @property
    def has_senders(self) -> bool:
        """Whether its senders have a state of their own each."""
        return self.one_at_a_time or self.own_number


# The Cloud API's lengths are Meta's ("Text messages", "Image messages"), and so is its pair limit. WAHA converts with
# `convert` (waha.devlike.pro, "Send messages"), Evolution re-encodes all audio (evolution-api,
# whatsapp.baileys.service.ts, audioWhatsapp). The Node worker sends five messages at a time and rests 6 s after each.
KINDS = {
    kind.name: kind
    for kind in (
        Kind("mock", sends_nothing=True, takes_user_ids=True),
        Kind(
            "cloud",
            needs=("whatsapp_phone_number_id", "whatsapp_access_token"),
            own_number=True,
            sends_templates=True,
            takes_user_ids=True,
            title="the WhatsApp Cloud API",
            text=4096,
            caption=1024,
            pair_seconds=6,
        ),
        Kind(
            "waha",
            needs=("waha_url",),
            one_at_a_time=True,
            fetches_links=True,
            converts=frozenset({"audio", "video"}),
        ),
        Kind(
            "evolution",
            needs=("evolution_url", "evolution_api_key"),
            one_at_a_time=True,
            fetches_links=True,
            converts=frozenset({"audio"}),
        ),
        Kind(
            "wppconnect",
            needs=("wppconnect_url", "wppconnect_token|wppconnect_secret_key"),
            one_at_a_time=True,
            fetches_links=True,
        ),
        Kind(
            "bullmq",
            needs=("redis_url",),
            hands_over=True,
            fetches_links=True,
            knows_assets=True,
            messages=48,
            period_seconds=60,
            burst=5,
        ),
    )
}
DEFAULT = "cloud"  # where GATEWAY is not set and its settings are
DEVELOPMENT = "mock"  # where nothing is set, on this machine
UNKNOWN = Kind("")


def kind_of(gateway: str | None) -> Kind:
    """None: where it does not matter which."""
    return KINDS.get(gateway or "", UNKNOWN)
