"""The blocks of docs/campaigns.md, run as one program of a signed-in user, beside a daemon that sends."""

import json
import re
import subprocess

from local.api import NODE, ROOT
from tests.helpers.process import environment
from tests.helpers.zones import where_it_is_noon
from tests.sources.conftest import opened

HEAD = """
import { createClient } from '@supabase/supabase-js'
const { SUPABASE_URL, SUPABASE_ANON_KEY, TOKEN, TOKEN_OF_COLLEAGUE, userId, colleagueId, connection } = process.env
const client = (token) => createClient(
  SUPABASE_URL, SUPABASE_ANON_KEY, { global: { headers: { Authorization: `Bearer ${token}` } } },
)
const supabase = client(TOKEN), colleague = client(TOKEN_OF_COLLEAGUE)
"""
TAIL = """
const last = await runOf(waiting.id)
console.log(JSON.stringify({ run, skipped, messages, retry, bulk, days, last }))
"""


def test_the_blocks_of_the_page_do_what_it_says(db, shopkeepers, staff_and_admin, stack, daemon):
    shop, (_, colleague) = opened(db, shopkeepers[0]), staff_and_admin
    shop.settings(timezone=where_it_is_noon())  # what goes out is of one day
    shop.contacts(3, "gold_loan")
    shop.contacts(1, "staff", first=3)
    db.execute("update contacts set phone_number = '+919876500000' where contact_name = 'Name 2'")
    daemon(DEFAULT_COUNTRY_CODE="IN")
    blocks = re.findall(r"```js\n(.*?)```", (ROOT / "docs" / "campaigns.md").read_text(), re.DOTALL)
    caller = {
        "TOKEN": shop.user.token, "userId": shop.user.id, "connection": shop.connection,
        "TOKEN_OF_COLLEAGUE": colleague.token, "colleagueId": colleague.id,
    }  # fmt: skip

    done = subprocess.run(
        [NODE, "--input-type=module", "-"], input="\n".join((HEAD, *blocks, TAIL)), cwd=ROOT,
        env=environment(stack, caller), capture_output=True, text=True, timeout=60,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    assert (said["run"]["status"], said["run"]["total"], said["run"]["sent"]) == ("completed", 3, 2)
    assert [one["name"] for one in said["skipped"]] == ["Name 2"]
    assert [m["message"] for m in said["messages"]] == [
        f"Dear Name {n}, your loan can grow until Friday." for n in range(2)
    ]
    assert said["retry"] == {"retried": 0, "left_out": []}
    assert said["bulk"]["recipient_count"] == 4
    assert len(said["days"]) == 1
    assert said["days"][0]["sent"] in (2, 3)  # the test message, too, if it has gone by then
    assert (said["last"]["status"], said["last"]["sent"]) == ("completed", 2)
