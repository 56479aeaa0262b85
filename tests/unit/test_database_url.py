"""DATABASE_URL as people paste it: understood as they mean it, or refused in a line without the password."""

import pytest
from psycopg.conninfo import conninfo_to_dict

from worker.operating.database_url import UrlRefused, conninfo

SECRET = "s3cr3t"
PLAIN = {"user": "postgres", "password": SECRET, "host": "db.abc.supabase.co", "port": "5432", "dbname": "postgres"}
AT_HOME = "db.abc.supabase.co:5432/postgres"


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        (f"postgresql://postgres:{SECRET}@{AT_HOME}", PLAIN),
        (f"  'postgres://postgres:{SECRET}@{AT_HOME}'\n", PLAIN),
        (f"postgresql+psycopg2://postgres:{SECRET}@{AT_HOME}", PLAIN),
        (f"postgresql://postgres:{SECRET}@{AT_HOME}?pgbouncer=true&connection_limit=1&pool_timeout=0", PLAIN),
        (f"postgresql://postgres:{SECRET}@{AT_HOME}?supa=base-pooler.x&schema=public", PLAIN),
        (f"postgresql://postgres:{SECRET}@{AT_HOME}?sslmode=require&supa=x", PLAIN | {"sslmode": "require"}),
        (f"postgresql://postgres:{SECRET}@{AT_HOME}?sslmode=&pgbouncer=true", PLAIN),
        (
            f"postgresql://postgres.abc:p@ss{SECRET}@{AT_HOME}",
            PLAIN | {"user": "postgres.abc", "password": f"p@ss{SECRET}"},
        ),
        (f"postgresql://postgres:a/b?c#d:e&{SECRET}@{AT_HOME}", PLAIN | {"password": f"a/b?c#d:e&{SECRET}"}),
        (f"postgresql://postgres:p%40ss%2F{SECRET}@{AT_HOME}", PLAIN | {"password": f"p@ss/{SECRET}"}),
        (f"postgresql://postgres:100%{SECRET}@{AT_HOME}", PLAIN | {"password": f"100%{SECRET}"}),
        (f"postgresql://postgres:a b'c\\{SECRET}@{AT_HOME}", PLAIN | {"password": f"a b'c\\{SECRET}"}),
        (
            "postgresql://postgres@127.0.0.1:54322/postgres",
            {"user": "postgres", "host": "127.0.0.1", "port": "54322", "dbname": "postgres"},
        ),
        (
            "postgresql://postgres@[::1]:54322/postgres",
            {"user": "postgres", "host": "::1", "port": "54322", "dbname": "postgres"},
        ),
        ("postgresql://a@one:1,two:2/x", {"user": "a", "host": "one,two", "port": "1,2", "dbname": "x"}),
        ("postgresql:///x?host=/tmp", {"dbname": "x", "host": "/tmp"}),
        (f"host=db user=postgres password='{SECRET} x'", {"host": "db", "user": "postgres", "password": f"{SECRET} x"}),
    ],
)
def test_it_is_understood(url: str, wanted: dict[str, str]):
    assert conninfo_to_dict(conninfo(url)) == wanted


@pytest.mark.parametrize(
    ("url", "part"),
    [
        (f"postgresql://postgres:{SECRET}@{AT_HOME}?frobnicate=1", "frobnicate"),
        (f"postgresql://postgres:{SECRET}@db.abc.supabase.co:port/postgres", "port"),
        (f"postgresql://postgres:{SECRET}@db.abc.supabase.co:99999/postgres", "port"),
        (f"postgresql://postgres:{SECRET}@db abc/postgres", "host:port/database"),
        (f"postgresql://postgres:{SECRET}@", "host"),
        ("postgresql://postgres:[YOUR-PASSWORD]@db.abc.supabase.co:5432/postgres", "[YOUR-PASSWORD]"),
        ("https://abc.supabase.co", "postgresql://"),
        (f"jdbc:postgresql://db/postgres?user=postgres&password={SECRET}", "postgresql://"),
        (f"host=db password={SECRET} {SECRET}", "keyword=value"),
        (SECRET, "postgresql://"),
        ("", "postgresql://"),
    ],
)
def test_it_is_refused_in_one_line_that_names_the_part_and_shows_no_password(url: str, part: str):
    with pytest.raises(UrlRefused) as refused:
        conninfo(url)
    assert part in str(refused.value)
    assert "\n" not in str(refused.value)
    assert SECRET not in str(refused.value)
