"""Which gateway a connection goes through: the environment's, or the one that its settings name."""

from typing import Any

from worker.config import Settings, missing_for
from worker.errors import ConfigError
from worker.gateway import Gateway, build

# A phone's session sends one message after the other; several at a time get numbers banned.
ONE_AT_A_TIME = frozenset({"waha", "evolution", "wppconnect"})


def sender_of(gateway: str, sender: str | None, connection_id: str) -> str:
    """Its settings' `sender`, else the connection's own id, or for the Cloud API "", the environment's number."""
    return sender or ("" if gateway == "cloud" else connection_id)


class Gateways:
    """Builds each gateway when it is first asked for. Raises ConfigError for the environment's own at once."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._built: dict[str, Gateway] = {}
        self.default = self.of(settings.gateway or "mock")

    def of(self, name: str) -> Gateway:
        """Raises ConfigError when the environment lacks what this gateway needs, or a lease is too short for it."""
        if name not in self._built:
            self._built[name] = self._build(name)
        return self._built[name]

    async def aclose(self) -> None:
        for gateway in self._built.values():
            await gateway.aclose()

    def _build(self, name: str) -> Gateway:
        if missing := missing_for(name, self._settings):
            raise ConfigError(f"The gateway {name} also needs {', '.join(missing)}")
        update: dict[str, Any] = {"gateway": name}
        gateway = build(self._settings.model_copy(update=update))
        if gateway.timeout >= self._settings.lease_seconds:
            raise ConfigError(f"LEASE_SECONDS must be longer than the {gateway.timeout:g} s that {name} may take")
        return gateway
