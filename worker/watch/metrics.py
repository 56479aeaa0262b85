"""What is counted, for Prometheus. One registry per process, so that tests and daemons do not share one."""

from collections import Counter as TallyOf
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Generic, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from worker.watch.recent import Recent

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 3600)
FINAL = ("sent", "failed", "unconfirmed")
_SIZES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)

Metric = TypeVar("Metric", Counter, Histogram)


class _ByLabel(dict[str, Metric], Generic[Metric]):
    """A metric with one label; each of its children is looked up once."""

    def __init__(self, metric: Metric) -> None:
        super().__init__()
        self._metric: Metric = metric

    def __missing__(self, label: str) -> Metric:
        child: Metric = self._metric.labels(label)
        self[label] = child
        return child


class Metrics:
    """Counters take `.inc(n)`: once per batch, not per message. The rest has methods."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.claimed = self._counter("claimed", "Jobs claimed for sending")
        self.sent = self._counter("sent", "Messages that a gateway took")
        self.failed = self._counter("failed", "Messages that will never go out as they stand")
        self.unconfirmed = self._counter("unconfirmed", "Messages that may have gone out, nobody can tell")
        self.retried = self._counter("retried", "Tries that failed with another to come")
        self.deferred = self._counter("deferred", "Jobs put off by pacing, limits or an unusable connection")
        self.rescued = self._counter("rescued", "Jobs whose lease ran out in a daemon's hands")
        self.fenced_out = self._counter("fenced_out", "Outcomes refused, another daemon having the job")
        self.missed = self._counter("missed_occurrences", "Occurrences passed over while nothing ran")
        self.handed_over = self._counter("handed_over", "Jobs handed to the Node broadcast worker")
        self.refused = self._counter("refused", "Rows that the database refused to have written")
        self.stale_hand_overs = Gauge(
            "scheduled_messages_stale_hand_overs",
            "Jobs handed over and not settled in time",
            registry=self.registry,
        )
        self._lag = self._histogram("due_lag_seconds", "From scheduled_at to sent_at", _SECONDS)
        self.recent = Recent(_SECONDS)
        self._sizes = _ByLabel(self._histogram("batch_size", "Rows in a batch", _SIZES, "step"))
        self._rpc_seconds = _ByLabel(self._histogram("rpc_seconds", "Time of a call", _SECONDS, "rpc"))
        self._rpc_errors = _ByLabel(self._counter("rpc_errors", "Calls that raised", "rpc"))
        self._sources = self._counter("settled", "What became of messages, by what they come from", "source", "outcome")
        self._wakes = _ByLabel(self._counter("wakes", "Why the scheduler woke", "reason"))

    def lags(self, seconds: Iterable[float]) -> None:
        """How late each message of a batch went out."""
        lags = list(seconds)
        for lag in lags:
            self._lag.observe(lag)
        self.recent.add(lags)

    @property
    def so_far(self) -> dict[str, int]:
        """What became of messages since this process began."""
        counters = {"sent": self.sent, "failed": self.failed, "unconfirmed": self.unconfirmed}
        return {name: int(next(iter(counter.collect())).samples[0].value) for name, counter in counters.items()}

    def settled(self, outcomes: Sequence[str]) -> None:
        """Counts a batch of settlements by what they say."""
        counters = {
            "sent": self.sent, "failed": self.failed, "unconfirmed": self.unconfirmed, "retry": self.retried,
            "throttled_recipient": self.deferred, "throttled_connection": self.deferred, "stopped": self.deferred,
            "locked_recipient": self.deferred, "handed_over": self.handed_over,
        }  # fmt: skip
        for outcome, number in TallyOf(outcomes).items():
            if outcome in counters:
                counters[outcome].inc(number)

    def by_source(self, settled: Iterable[tuple[str, str]]) -> None:
        """Counts a batch by what each message comes from and what became of it, where that is final."""
        for (source, outcome), number in TallyOf(settled).items():
            if outcome in FINAL:
                self._sources.labels(source, outcome).inc(number)

    def batch(self, step: str, size: int) -> None:
        """step: what was done with them: "claim"."""
        self._sizes[step].observe(size)

    def woke(self, reason: str) -> None:
        self._wakes[reason].inc()

    @contextmanager
    def rpc(self, name: str) -> Iterator[None]:
        """Times the call within, whether it succeeds or raises; counts what it raises."""
        with self._rpc_errors[name].count_exceptions(), self._rpc_seconds[name].time():
            yield

    def render(self) -> bytes:
        """Prometheus' text format."""
        return generate_latest(self.registry)

    def _counter(self, name: str, about: str, *labels: str) -> Counter:
        return Counter(f"scheduled_messages_{name}", about, labels, registry=self.registry)

    def _histogram(self, name: str, about: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        full = f"scheduled_messages_{name}"
        return Histogram(full, about, labels, registry=self.registry, buckets=buckets)
