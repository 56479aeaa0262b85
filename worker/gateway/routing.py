"""Which gateway a connection goes through: the environment's, or the one that its settings name."""

from importlib import import_module
from typing import Any

from worker.config import Settings, missing_for
from worker.errors import ConfigError
from worker.gateway.base import Gateway
from worker.kinds import DEVELOPMENT, KINDS, kind_of


def sender_of(gateway: str, sender: str | None, connection_id: str) -> str:
    """Its settings' `sender`, else the connection's own id, or "" for the number that the environment names."""
    return sender or ("" if kind_of(gateway).own_number else connection_id)


def build(settings: Settings) -> Gateway:
    """The gateway that `settings.gateway` names. Raises ConfigError.

    By its name, so that its row is enough; and only its own: BullMQ's library costs a daemon 6.5 MB and 0.08 s.
    """
    if settings.gateway not in KINDS:
        raise ConfigError(f"GATEWAY must be one of {', '.join(KINDS)}, not {settings.gateway!r}")
    gateway: Gateway = import_module(f"worker.gateway.{settings.gateway}").build(settings)
    return gateway


class Gateways:
    """Builds each gateway when it is first asked for. Raises ConfigError for the environment's own at once."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._built: dict[str, Gateway] = {}
        self.default = self.of(settings.gateway or DEVELOPMENT)

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
