"""What Prometheus reads."""

import pytest

from worker.watch.metrics import Metrics


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(f"scheduled_messages_{name}", labels)


COUNTERS = {
    "claimed": "claimed",
    "sent": "sent",
    "failed": "failed",
    "unconfirmed": "unconfirmed",
    "retried": "retried",
    "deferred": "deferred",
    "rescued": "rescued",
    "fenced_out": "fenced_out",
    "missed": "missed_occurrences",
    "handed_over": "handed_over",
}


@pytest.mark.parametrize(("attribute", "name"), COUNTERS.items())
def test_a_counter_grows_by_a_whole_batch(metrics: Metrics, attribute: str, name: str) -> None:
    getattr(metrics, attribute).inc(500)
    getattr(metrics, attribute).inc(0)
    assert value(metrics, f"{name}_total") == 500


def test_what_became_of_messages_is_counted_by_what_they_come_from(metrics: Metrics) -> None:
    metrics.by_source([("campaign", "sent"), ("campaign", "sent"), ("single", "failed"), ("single", "retry")])
    assert value(metrics, "settled_total", source="campaign", outcome="sent") == 2
    assert value(metrics, "settled_total", source="single", outcome="failed") == 1
    assert value(metrics, "settled_total", source="single", outcome="retry") is None


def test_stale_hand_overs_rise_and_fall(metrics: Metrics) -> None:
    metrics.stale_hand_overs.set(7)
    metrics.stale_hand_overs.set(2)
    assert value(metrics, "stale_hand_overs") == 2


def test_lags_fall_into_buckets(metrics: Metrics) -> None:
    metrics.lags([0.004, 0.02, 0.02, 7200])
    assert value(metrics, "due_lag_seconds_bucket", le="0.005") == 1
    assert value(metrics, "due_lag_seconds_bucket", le="0.025") == 3
    assert value(metrics, "due_lag_seconds_bucket", le="3600.0") == 3
    assert value(metrics, "due_lag_seconds_count") == 4


def test_batches_are_kept_apart_by_step(metrics: Metrics) -> None:
    metrics.batch("enqueue", 500)
    metrics.batch("claim", 20)
    metrics.batch("claim", 20)
    assert value(metrics, "batch_size_sum", step="enqueue") == 500
    assert value(metrics, "batch_size_count", step="claim") == 2


def test_wakes_are_counted_by_reason(metrics: Metrics) -> None:
    for reason in ("poll", "realtime", "poll"):
        metrics.woke(reason)
    assert value(metrics, "wakes_total", reason="poll") == 2
    assert value(metrics, "wakes_total", reason="realtime") == 1


def test_a_call_is_timed_whether_it_succeeds_or_raises(metrics: Metrics) -> None:
    with metrics.rpc("claim"):
        pass
    with pytest.raises(OSError, match="gone"), metrics.rpc("claim"):
        raise OSError("gone")
    assert value(metrics, "rpc_seconds_count", rpc="claim") == 2
    assert value(metrics, "rpc_errors_total", rpc="claim") == 1


def test_two_daemons_in_one_process_do_not_share_numbers(metrics: Metrics) -> None:
    metrics.sent.inc()
    assert value(Metrics(), "sent_total") == 0


def test_the_text_has_a_line_for_every_number(metrics: Metrics) -> None:
    metrics.sent.inc(3)
    lines = metrics.render().decode().splitlines()
    assert "scheduled_messages_sent_total 3.0" in lines
    assert "scheduled_messages_stale_hand_overs 0.0" in lines
