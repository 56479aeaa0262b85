"""The ways of sending. Adding one is a file here and a line below; docs/adding-a-gateway.md tells how."""

from importlib import import_module
from typing import cast

from worker.errors import ConfigError
from worker.gateway.base import Gateway, Settings

GATEWAYS = {
    "mock": "worker.gateway.mock",
    "cloud": "worker.gateway.cloud",
    "waha": "worker.gateway.waha",
    "evolution": "worker.gateway.evolution",
    "wppconnect": "worker.gateway.wppconnect",
    "bullmq": "worker.gateway.bullmq",
}


def build(settings: Settings) -> Gateway:
    """The gateway that `settings.gateway` names; only its own module is loaded. Raises ConfigError."""
    if settings.gateway not in GATEWAYS:
        raise ConfigError(f"GATEWAY must be one of {', '.join(GATEWAYS)}, not {settings.gateway!r}")
    return cast(Gateway, import_module(GATEWAYS[settings.gateway]).build(settings))


__all__ = ["GATEWAYS", "Gateway", "Settings", "build"]
