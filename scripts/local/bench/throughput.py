"""Messages a second, the whole way: every row ends as `sent` with a message id. Ours beside others, in turns."""

from collections import defaultdict
from collections.abc import Callable, Iterator

from local.bench import peers, plain
from local.bench.figures import Figure, Size, median
from local.bench.ground import Ground, ground

CONCURRENCY = 1000
BATCH_SIZE = 1000
ONE = "this daemon"
START_SECONDS = 10  # a daemon has started and polled by then, also on a busy machine

Measure = Callable[[Ground, int], float]


def throughput(size: Size) -> Iterator[Figure]:
    """Medians. One daemon has a turn before each peer, and ratios are to the turn before: a noisy minute is both's."""
    settings = f"{size.rows:,} rows, CONCURRENCY={CONCURRENCY}, BATCH_SIZE={BATCH_SIZE}"
    speeds, ratios = defaultdict[str, list[float]](list), defaultdict[str, list[float]](list)
    with ground() as place, ground() as elsewhere:  # the API server looks into every schema, theirs too
        for name, measure, rows in list(turns(size)) * size.runs:
            place.clear()
            speed = rows / measure(elsewhere if isinstance(measure, peers.Peer) else place, rows)
            print(f"  {name}: {speed:,.0f} messages/s", flush=True)
            speeds[name].append(speed)
            ratios[name].append(speeds[ONE][-1] / speed)
    for name, found in speeds.items():
        yield Figure(
            "throughput", name, median(found), "messages/s", median(ratios[name]), "one daemon to it", settings
        )


def turns(size: Size) -> Iterator[tuple[str, Measure, int]]:
    """Whose turn it is in a run, how it is measured, with how many rows."""
    one = ONE, ours(1), size.rows
    yield one
    yield "this daemon, two of them", ours(2), size.rows
    yield "this daemon, four of them", ours(4), size.rows
    yield "plain worker, a row at a time", plain.measure, size.plain_rows
    for peer in peers.install():
        if not peer.by_hand:
            yield one
        yield peer.name, peer, int(size.rows * peer.share)


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
