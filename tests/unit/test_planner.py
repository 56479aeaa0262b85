"""Who comes next: nobody waits for more than a hundred of somebody else's rows."""

from random import Random

from tests.helpers.nouns import due
from worker.jobs import Due
from worker.sending.planner import SHARE, Line, of_the_few


def rows(payer: str, number: int, first: int = 0) -> list[Due]:
    return [due(id=f"{payer}-{n}", owner_id=payer) for n in range(first, first + number)]


def test_a_row_comes_before_the_hundred_and_first_of_somebody_else() -> None:
    line = Line()
    line.add(rows("many", 20_000) + rows("few", 3))
    taken = [row.id for row in line.take(500)]
    assert taken.index("few-0") == SHARE
    assert [name for name in taken if name.startswith("few")] == ["few-0", "few-1", "few-2"]
    assert len(taken) == 500


def test_whoever_comes_later_is_next_all_the_same() -> None:
    line = Line()
    line.add(rows("many", 5_000))
    line.take(500)
    line.add(rows("few", 1))
    assert line.payers == ["many", "few"]
    assert [row.id for row in line.take(500)].index("few-0") <= SHARE


def test_somebody_alone_has_all_the_room() -> None:
    line = Line()
    line.add(rows("many", 1_200))
    assert [len(line.take(500)) for _ in range(4)] == [500, 500, 200, 0]


def test_rows_without_an_owner_are_their_connection_s() -> None:
    line = Line()
    line.add([due(connection_id=f"c{n % 2}") for n in range(10)])
    assert line.payers == ["c0", "c1"]


def test_what_is_listed_twice_is_taken_once_also_while_it_is_being_written() -> None:
    line = Line()
    line.add(rows("a", 10))
    first = line.take(4)
    line.add(rows("a", 10))
    second = line.take(100)
    line.add(rows("a", 10))
    assert (len(first), len(second), len(line)) == (4, 6, 0)


def test_nobody_s_next_row_is_behind_more_than_a_hundred_of_each_other() -> None:
    random = Random(17)
    for _ in range(50):
        line = Line()
        for payer in range(random.randint(1, 9)):
            line.add(rows(f"p{payer}", random.choice((1, 5, 150, 2_000))))
        waiting = set(line.payers)
        ahead = dict.fromkeys(waiting, 0)
        while line:
            for row in line.take(random.choice((50, 500))):
                waiting.discard(row.owner_id)
                ahead[row.owner_id] += 1
                assert not waiting or ahead[row.owner_id] <= SHARE


def test_those_who_have_few_go_before_those_who_have_many_and_without_them() -> None:
    payers = ["many"] * 6 + ["b", "c", "b"]
    assert of_the_few(payers, 2) == [6, 7, 8]
    assert of_the_few(payers, 6) == list(range(9))
    assert of_the_few(["many"] * 6, 2) == list(range(6))
    assert of_the_few([], 5) == []
