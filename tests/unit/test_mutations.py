"""The faults that ./scripts/mutate puts in have their places: a list that does not fit the code notices nothing."""

from collections import Counter

import pytest

from local.api import ROOT
from local.mutate import faults

FAULTS = faults.load([], [])


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_has_one_place_and_tests_that_exist(fault):
    (file,) = ROOT.glob(fault.file)
    assert file.read_text().count(fault.before) == 1
    assert fault.after != fault.before
    assert fault.tests
    for test in fault.tests:
        assert (ROOT / "tests" / test.partition("::")[0]).is_file(), test


def test_every_fault_has_a_name_of_its_own():
    assert [name for name, number in Counter(fault.name for fault in FAULTS).items() if number > 1] == []
