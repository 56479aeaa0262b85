"""What sql/README.md asks of every file and function, where PostgreSQL and the linter do not look."""

import re
from collections.abc import Iterator

import pytest

from local.api import ROOT
from tests.helpers.rows import Database
from worker.operating.migrate import migrations

OURS = "pronamespace in ('public'::regnamespace, 'private'::regnamespace)"
GROWING = {
    *("public.scheduled_messages", "public.broadcast_jobs", "public.broadcast_messages", "public.contacts"),
    *("public.connections", "public.connection_settings", "private.connection_state", "private.recipient_state"),
}


def levels(body: str) -> Iterator[str]:
    """Each statement and each select in parentheses, without what stands in parentheses inside it."""
    open_ones = [""]
    for letter in re.sub(r"--.*|'[^']*'", "", body):
        if letter == "(":
            open_ones.append("")
        elif letter == ")" and len(open_ones) > 1:
            yield open_ones.pop()
            open_ones[-1] += "()"
        elif letter == ";":
            yield open_ones[-1]
            open_ones[-1] = ""
        else:
            open_ones[-1] += letter
    yield from open_ones


def plain_joins(body: str) -> list[str]:
    """Where a growing table is tied to something else by `=` alone: the planner may begin at either side."""
    found = []
    for text in levels(body):
        for table, alias in re.findall(r"\b(?:from|join|update|using)\s+([a-z_.]+)\s+as\s+(\w+)", text):
            by_key = rf"\b{alias}\.\w+(::text)?\s+=\s+any\b|\blimit\b"
            if table not in GROWING or re.search(by_key, text):
                continue
            other = rf"(?!(?:p_|v_|{alias}\.))\w+\.\w+"
            tie = rf"\b{alias}\.\w+(?:::text)?\s+=\s+{other}|\b{other}\s+=\s+{alias}\.\w+"
            found += [f"{table} as {alias}: {tied[0]}" for tied in re.finditer(tie, text)]
    return found


@pytest.mark.parametrize(
    ("body", "number"),
    [
        ("update public.broadcast_jobs as j set status = '' from held as h where j.id = h.id;", 1),
        ("update public.broadcast_jobs as j set status = '' from held as h where j.id = any(array[h.id]);", 0),
        ("select from given as g join public.contacts as c on g.contact = c.id", 1),
        ("select from private.connection_state as s where s.connection_id = p_id and exists (select from a)", 0),
        ("select (select m.id from public.broadcast_messages as m where m.job_id = j.id) from jobs as j", 1),
        ("from a cross join lateral (select from public.broadcast_jobs as j where j.id = a.id limit 1) as j", 0),
        ("select from mine as j where j.id = 'public.contacts as j' and j.id = j.job_id -- j.id = a.id", 0),
    ],
)
def test_a_plain_join_is_seen(body: str, number: int):
    assert len(plain_joins(body)) == number


def test_what_is_called_all_day_finds_the_rows_of_growing_tables_by_their_keys(db: Database):
    """sql/README.md, "Plans"; test_plans.py asks for the plans themselves."""
    sql = f"select proname, prosrc from pg_proc where {OURS} and proconfig::text like '%plan_cache_mode%'"
    functions = db.execute(sql).fetchall()

    assert len(functions) > 15
    assert {each["proname"]: plain_joins(each["prosrc"]) for each in functions if plain_joins(each["prosrc"])} == {}


def test_a_function_that_ours_would_take_the_place_of_is_looked_for(db: Database):
    """Those that the API shows; get_pending_scheduled_messages() is ours by agreement."""
    looks = [path.read_text() for path in migrations() if path.stem.endswith("_look")]
    named = re.findall(r"'(public\.\w+\([^)]*\))'", re.sub(r"'\n +'", "", "".join(looks)))
    looked_for = {each.replace(" ", "").replace("timestamptz", "timestampwithtimezone") for each in named}
    sql = f"""
        select format('public.%s(%s)', p.proname, types.names) as signature
        from pg_proc as p
        cross join lateral (
            select string_agg(format_type(t.type, null), ',' order by t.place) as names
            from unnest(p.proargtypes) with ordinality as t (type, place)
        ) as types
        where {OURS} and pronamespace = 'public'::regnamespace and pronargs < 7
            and proname <> 'get_pending_scheduled_messages'
    """

    assert {each["signature"].replace(" ", "") for each in db.execute(sql)} <= looked_for


def test_who_pays_is_spelled_as_the_index_has_it():
    """Another spelling is not found by scheduled_messages_payer_idx, and reads everybody's rows instead."""
    spelled = r"md5\(coalesce\((?:\w+\.)?owner_id::text, (?:\w+\.)?connection_id\)"
    as_the_index = spelled + r" \|\| repeat\('\*', (?:\w+\.)?priority\)\)"
    for path in migrations():
        text = re.sub(r"\(\s+", "(", re.sub(r"\s+", " ", re.sub(r"--.*", "", path.read_text())))
        text = re.sub(r"\s+\)", ")", text)
        assert len(re.findall(spelled, text)) == len(re.findall(as_the_index, text)), path.name


def test_only_a_trigger_has_a_connection_or_a_contact_as_one_value():
    """Of any other row PostgreSQL would read all of it first, a code to scan or a picture, too (owner_by_id)."""
    for path in migrations():
        text = re.sub(r"create .*|--.*", "", path.read_text())
        rows = set(re.findall(r"public\.(?:connections|contacts)\s+as (\w+)", text))
        whole = {name for name in rows if re.search(rf"[(,]\s*{name}(\.\*)?\s*[,)]", text)}
        assert whole == set(), path.name
        assert set(re.findall(r"owner_of\((\w+)", text)) <= {"old", "new"}, path.name


def test_no_text_names_a_file_by_its_number():
    """Files are numbered anew until the first release, and their numbers mean nothing to anybody."""
    numbers = {path.name[:14] for path in migrations()}
    texts = [*ROOT.glob("sql/*"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("worker/**/*.py")]

    for path in texts:
        assert not [number for number in numbers if number in path.read_text()], path


def test_no_line_is_longer_than_a_hundred_columns():
    """The linter does not look into the bodies of functions."""
    for path in migrations():
        long = [number for number, line in enumerate(path.read_text().splitlines(), 1) if len(line) > 100]
        assert long == [], path.name


def test_no_two_files_have_one_number():
    """The Supabase CLI knows a migration by it."""
    numbers = [path.name[:14] for path in migrations()]
    assert len(set(numbers)) == len(numbers)
