"""Messages a second, the whole way: every row ends as `sent` with a message id. Ours beside others, in turns."""

from collections.abc import Callable, Iterator

from local.bench import peers, plain
from local.bench.figures import Figure, Size, median
from local.bench.ground import Ground, ground

CONCURRENCY = 1000
BATCH_SIZE = 1000
OURS = {"this daemon": 1, "this daemon, two of them": 2, "this daemon, four of them": 4}
START_SECONDS = 10  # a daemon has started and polled by then, also on a busy machine

Measure = Callable[[Ground, int], float]


def throughput(size: Size) -> Iterator[Figure]:
    """Each in each run once, so that a noisy minute is everybody's; medians; ratios to the fastest peer."""
    settings = f"{size.rows:,} rows, CONCURRENCY={CONCURRENCY}, BATCH_SIZE={BATCH_SIZE}"
    contestants: dict[str, tuple[Measure, int]] = {name: (ours(number), size.rows) for name, number in OURS.items()}
    contestants["plain worker, a row at a time"] = (plain.measure, size.plain_rows)
    others = {peer.name: (peer.measure, int(size.rows * peer.share)) for peer in peers.install()}
    speeds: dict[str, list[float]] = {name: [] for name in contestants | others}
    with ground() as place, ground() as elsewhere:  # the API server looks into every schema, theirs too
        for _ in range(size.runs):
            for name, (measure, rows) in (contestants | others).items():
                place.clear()
                speeds[name].append(rows / measure(elsewhere if name in others else place, rows))
                print(f"  {name}: {speeds[name][-1]:,.0f} messages/s", flush=True)
    base = median(speeds[next(iter(OURS))])
    for name, found in speeds.items():
        yield Figure(
            "throughput", name, median(found), "messages/s", base / median(found), "one daemon to it", settings
        )


def ours(number: int) -> Measure:
    """From the instant at which all rows fall due until the last outcome is in the database."""

    def measure(place: Ground, rows: int) -> float:
        due = place.add(rows, ahead=START_SECONDS + 5 * number + rows / 2000)
        with place.daemons(number, CONCURRENCY=CONCURRENCY, BATCH_SIZE=BATCH_SIZE) as daemons:
            if place.seconds_since(due) > 0:
                raise SystemExit("bench: the daemons were not ready when the rows fell due")
            place.sleep_until(due)
            place.await_done()
            seconds = place.seconds_since(due)
            sent = sum(daemon.metric("sent_total") for daemon in daemons)
        in_table = place.one("select count(distinct message_id) from public.scheduled_messages where status = 'sent'")
        if (sent, in_table) != (rows, rows):
            raise SystemExit(f"bench: {rows} rows, {sent:.0f} sent, {in_table} recorded")
        return seconds

    return measure
