"""The database's clock as an argument: our functions, with `now()` read from a table."""

import re
from datetime import datetime

from tests.helpers.rows import Database

OURS = """
select pg_get_functiondef(p.oid) as definition from pg_proc as p join pg_namespace as n on n.oid = p.pronamespace
where n.nspname in ('public', 'private') and p.prokind = 'f' and p.prosrc ~ '(now|clock_timestamp)\\(\\)'
    and p.proname <> 'test_now'
"""
CLOCK = """
create table if not exists public.test_clock (instant timestamptz);
grant select on public.test_clock to service_role;
create or replace function public.test_now() returns timestamptz language sql stable
as 'select instant from public.test_clock';
"""


class TimeTravel:
    """Rewrites every function of ours that asks for the time; `leave` puts them back."""

    def __init__(self, db: Database) -> None:
        self.db = db
        self.originals = [row["definition"] for row in db.execute(OURS)]
        db.execute(CLOCK)
        db.execute("delete from public.test_clock")
        db.execute("insert into public.test_clock values (now())")
        for definition in self.originals:
            db.execute(re.sub(r"\b(pg_catalog\.)?(now|clock_timestamp)\(\)", "public.test_now()", definition))

    def to(self, instant: datetime) -> None:
        self.db.execute("update public.test_clock set instant = %s", (instant,))

    def leave(self) -> None:
        for definition in self.originals:
            self.db.execute(definition)
        self.db.execute("drop function public.test_now(); drop table public.test_clock")
