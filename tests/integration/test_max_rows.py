"""A server that gives no more than so many rows, without a word: nothing depends on getting more.

Supabase's setting "Max rows" is PostgREST's `db-max-rows`, which limits tables, views and functions alike
(https://docs.postgrest.org/en/stable/references/configuration.html#db-max-rows).
"""

import pytest

from tests.helpers.polling import until
from tests.helpers.proxy import cut_at
from tests.helpers.rows import add_connections, one, statuses
from worker.gateway import Gateways
from worker.operating.doctor import senders

CONTACTS = """
insert into contacts (id, owner_id, phone_number)
select n, md5('owner')::uuid, '+9198' || lpad(n::text, 8, '0') from generate_series(1, %s) as n
"""
ROWS = """
insert into scheduled_messages (connection_id, contact_id, message, scheduled_at, owner_id)
select 'shop-' || n %% 7, n, 'Hello', now() + n %% 2 * interval '2 s', md5('owner')::uuid
from generate_series(1, %s) as n
"""


@pytest.mark.parametrize(("limit", "number"), [(1, 24), (100, 450)])
def test_messages_to_contacts_are_sent_however_few_rows_an_answer_holds(db, daemon, proxy, limit, number):
    add_connections(db, *(f"shop-{n}" for n in range(7)))
    db.execute("set session_replication_role = replica")
    db.execute(CONTACTS, (number,))
    db.execute(ROWS, (number,))
    db.execute("update scheduled_messages set due_at = scheduled_at")
    db.execute("set session_replication_role = origin")
    proxy.fault = cut_at(limit)

    daemon(SUPABASE_URL=proxy.url)

    until(lambda: not statuses(db).get("pending") and not statuses(db).get("processing"), 60, "all being over")
    assert statuses(db) == {"sent": number}
    assert one(db, "select count(distinct recipient) from broadcast_jobs") == number


async def test_operators_see_all(db, parts, proxy, settings):
    add_connections(db, *(f"shop-{n}" for n in range(5)))
    db.execute(
        "insert into connection_settings (connection_id, gateway, sender) select id, 'cloud', id from connections"
    )
    daemon = await parts(supabase_url=proxy.url)
    whole = await daemon.store.diagnose()

    proxy.fault = cut_at(1)

    assert await daemon.store.diagnose() == whole
    assert len(whole) > 3
    asked = await senders(Gateways(settings()), daemon.store)
    assert {sender for name, sender in asked if name == "cloud"} == {f"shop-{n}" for n in range(5)}
