"""What is counted of whatever writes messages of its own accord, beside the daemon's own metrics."""

from prometheus_client import CollectorRegistry, Counter


class Tallies:
    """registry: the daemon's."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._runs = Counter(
            "scheduled_messages_campaign_runs",
            "Runs of campaigns that ended, by how they came out",
            ["outcome"],
            registry=registry,
        )

    def run_ended(self, outcome: str) -> None:
        self._runs.labels(outcome).inc()
