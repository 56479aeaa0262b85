"""Contacts of somebody, written straight into the database; and what a browser saves of them."""

from local.api import ROOT
from tests.helpers.accounts import User
from tests.helpers.rows import Database

# press(page, name): what the page gives to save when a button of that name is pressed.
DOWNLOADS = str(ROOT / "tests" / "web" / "downloads.mjs")


def add_people(db: Database, person: User, number: int, label: str = "gold", first: int = 0) -> list[int]:
    """So many called "Person 00" …, each with a number of its own and the label. Their ids."""
    sql = """
        insert into contacts (owner_id, phone_number, contact_name, labels)
        select %s, '+9198765' || lpad(n::text, 5, '0'), 'Person ' || lpad(n::text, 2, '0'), array[%s]
        from generate_series(%s::integer, %s::integer) as n
        returning id
    """
    return [row["id"] for row in db.execute(sql, (person.id, label, first, first + number - 1))]
