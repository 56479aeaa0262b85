"""A daemon that stands still for longer than its lease, and then goes on as if nothing had happened."""

import signal

from tests.chaos.town import Town
from tests.helpers.polling import until

FENCED = "answers came after their jobs had been settled otherwise"


def unconfirmed(town: Town) -> int:
    return int(town.query("select count(*) as n from scheduled_messages where status = 'unconfirmed'")[0]["n"])


def test_stopped_in_the_middle_of_sending_it_settles_what_others_had_to_leave_in_doubt(town, note):
    """SIGSTOP: the gateway's answers wait in its sockets. Another daemon ends the leases and does the rest."""
    town.gateway.delay = 1
    town.write(60)
    sleeper = town.start()
    until(lambda: town.gateway.in_flight >= 10, 20, "ten in flight")
    sleeper.process.send_signal(signal.SIGSTOP)
    asleep = len(town.gateway.received)

    town.start()
    until(lambda: unconfirmed(town) >= 10, 30, "the leases ending")
    until(lambda: town.open == 0, 30, "the rest being done")
    assert all(one.at for one in town.gateway.received[asleep:])
    assert town.verdict().unconfirmed >= 10
    sleeper.process.send_signal(signal.SIGCONT)

    until(lambda: unconfirmed(town) == 0, 20, "its late answers being written down")
    verdict = town.verdict()
    assert verdict.sent == 60
    assert not sleeper.said(FENCED)
    assert sleeper.process.poll() is None
    note("a daemon stopped (SIGSTOP) for longer than its lease, then continued", verdict)
