"""Rows that wait to be planned, in turns: however many rows somebody has, everybody else's next ones come with them."""

from collections import Counter, deque
from collections.abc import Iterable, Sequence

from worker.jobs import Due

SHARE = 100  # rows of one while another waits


def of_the_few(payers: Sequence[str], most: int) -> list[int]:
    """The places of those who are here at most so many times; all places where that is everybody, or nobody."""
    times = Counter(payers)
    few = [place for place, name in enumerate(payers) if times[name] <= most]
    return few or list(range(len(payers)))


class Line:
    """One queue a payer, in the order in which their rows were listed."""

    def __init__(self) -> None:
        self._queues: dict[str, deque[Due]] = {}
        self._ids: set[str] = set()  # of those in the queues
        self._taken: tuple[list[Due], list[Due]] = [], []  # the batch being written, and the one before

    def __len__(self) -> int:
        return len(self._ids)

    @property
    def payers(self) -> list[str]:
        """Who waits here and need not be looked for."""
        return [*self._queues]

    def add(self, rows: Iterable[Due]) -> None:
        """Those that are not here already."""
        known = self._ids.union(row.id for rows in self._taken for row in rows)
        for row in rows:
            if row.id not in known:
                known.add(row.id)
                self._ids.add(row.id)
                self._queues.setdefault(row.payer, deque()).append(row)

    def take(self, number: int) -> list[Due]:
        """The next ones: up to SHARE of everybody, and again while there is room."""
        taken: list[Due] = []
        while self._queues and len(taken) < number:
            name, queue = next(iter(self._queues.items()))
            del self._queues[name]
            share = min(SHARE, len(queue), number - len(taken))
            taken += [queue.popleft() for _ in range(share)]
            if queue:
                self._queues[name] = queue  # behind the others
        self._ids.difference_update(row.id for row in taken)
        self._taken = taken, self._taken[0]
        return taken
