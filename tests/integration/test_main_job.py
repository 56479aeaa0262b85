"""From a row to its outcome."""

from tests.helpers.polling import until
from tests.helpers.rows import message, schedule, add_connections


def test_a_due_row_is_sent(db, daemon):
    add_connections(db, "shop")
    row = schedule(db)
    daemon()
    until(lambda: message(db, row)["status"] == "sent", 15)
