"""A daemon that stands still for longer than its lease, and then goes on as if nothing had happened."""

import signal

from tests.chaos.town import Town, size
from tests.helpers.polling import until

FENCED = "answers came after their jobs had been settled otherwise"


def unconfirmed(town: Town) -> int:
    return town.count("select count(*) as n from scheduled_messages where status = 'unconfirmed'")


def test_stopped_in_the_middle_of_sending_it_settles_what_others_had_to_leave_in_doubt(town, note):
    """SIGSTOP: the gateway's answers wait in its sockets. Another daemon ends the leases and does the rest."""
    town.gateway.delay = 1
    count = size(60, 1000)
    town.write(count)
    sleeper = town.start()
    until(lambda: town.gateway.in_flight >= 10, 20, "ten in flight")
    sleeper.process.send_signal(signal.SIGSTOP)

    town.start()
    until(lambda: town.open == 0 and unconfirmed(town) >= 10, 30 + count / 10, "leases ended, the rest done")
    assert town.verdict().unconfirmed == unconfirmed(town)
    sleeper.process.send_signal(signal.SIGCONT)

    until(lambda: unconfirmed(town) == 0, 20, "its late answers being written down")
    verdict = town.verdict()
    assert verdict.sent + verdict.failed == count
    assert not sleeper.said(FENCED)
    assert sleeper.process.poll() is None
    note("SIGSTOP for longer than the lease, then SIGCONT", verdict)
