"""Contacts of somebody, written straight into the database; who may see them; and what a browser does with them."""

from local.api import ROOT
from tests.helpers.accounts import User
from tests.helpers.rows import Database

# press(page, name): what the page gives to save when a button of that name is pressed.
DOWNLOADS = str(ROOT / "tests" / "web" / "downloads.mjs")
# hold(page, part), number(page), letGo(page): answers that come late, and when they do.
HELD = str(ROOT / "tests" / "web" / "held.mjs")


def add_member(db: Database, owner: User, member: User, role: str = "staff") -> None:
    """To the owner's connection."""
    db.execute(
        "insert into connection_members (connection_id, user_id, role, owner_id) values (%s, %s, %s, %s)",
        (owner.connection_id, member.id, role, owner.id),
    )


def add_people(db: Database, person: User, number: int, label: str = "gold", first: int = 0) -> list[int]:
    """So many called "Person 00" …, each with a number of its own and the label. Their ids."""
    sql = """
        insert into contacts (owner_id, phone_number, contact_name, labels)
        select %s, '+9198765' || lpad(n::text, 5, '0'), 'Person ' || lpad(n::text, 2, '0'), array[%s]
        from generate_series(%s::integer, %s::integer) as n
        returning id
    """
    return [row["id"] for row in db.execute(sql, (person.id, label, first, first + number - 1))]
