"""The page Templates, and what a text has places for."""

from tests.helpers.proxy import forgetful
from tests.helpers.rows import one
from tests.web.node import in_node


def the_template(db):
    [row] = db.execute("select * from message_templates").fetchall()
    return row


def test_a_template_is_made_shown_with_example_values_edited_and_deleted(desk, db, person):
    window = desk(person).open("templates")
    window.sees("No templates yet. Make the first one.")
    window.press("Make a template")
    window.fill("Name", "Visit")
    window.choose("Category", "marketing")
    window.fill("Language", "pt_BR")
    window.sees("Brazilian Portuguese")
    window.fill("Text", "Dear {Name}, {{doctor-name}} sees you {date}. {not a place!")
    window.fill("{date}", "tomorrow")
    window.press("Save")

    window.sees("Saved. This is what a recipient sees.")
    window.sees("Dear Asha Rao, Dr. Mehta sees you tomorrow. {not a place!")
    row = the_template(db)
    assert (row["name"], row["category"], row["language"], row["version"]) == ("Visit", "marketing", "pt_BR", 1)
    assert (row["variables"], row["defaults"]) == (["name", "doctor_name", "date"], {"date": "tomorrow"})
    assert (row["connection_id"], str(row["owner_id"]), row["on_missing"]) == (None, person.id, "fault")

    # What has no value is named; what is filled in is not filled in again.
    window.fill("{doctor_name}", "")
    window.sees("No value for {doctor_name}: a recipient without one gets nothing.")
    window.fill("{doctor_name}", "{date}")
    window.sees("Dear Asha Rao, {date} sees you tomorrow.")

    window.page.getByRole("tab", name="Edit").click()
    window.fill("Text", "Dear {name}, good morning.")
    window.choose("For", person.connection_id)
    window.choose("A field that has no value at all", "blank")
    window.press("Save")
    window.sees("Dear Asha Rao, good morning.")
    row = the_template(db)
    assert (row["version"], row["on_missing"], row["connection_id"]) == (2, "blank", person.connection_id)
    assert row["defaults"] == {}  # of a place that is no longer there

    window.press("Close")
    window.sees("Dear {name}, good morning.")
    window.press("Edit Visit")
    window.press("Delete the template")
    window.press("Yes, delete")
    window.sees("No templates yet.")
    assert one(db, "select count(*) from message_templates") == 0


def test_what_the_database_refuses_is_told_in_its_words_and_what_was_written_stays(desk, db, person):
    window = desk(person, troubled=True).open("templates/new")
    window.fill("Name", "A file")
    window.choose("Kind", "image")
    window.fill("Link to the file", "https://example.com/map.png")
    window.choose("For", person.connection_id)
    db.execute("delete from connections")
    window.press("Save")
    window.sees("There is no such connection of yours.")
    window.choose("For", "")
    window.fill("Caption", "For {name}")
    window.page.reload()
    assert window.field("Caption").inputValue() == "For {name}"
    window.press("Save")
    window.sees("image: https://example.com/")
    window.sees("For Asha Rao")
    assert the_template(db)["type"] == "image"
    assert window.page.evaluate("sessionStorage.length") == 0


def test_a_template_is_written_once_and_not_over_somebody_elses_edit(desk, db, api, person):
    window = desk(person, troubled=True).open("templates/new")
    window.fill("Name", "Visit")
    window.fill("Text", "Hello")
    lost = []

    def lose_the_first(request, answer):
        if request.method == "POST" and "message_templates" in request.path and answer and not lost:
            lost.append(request)
            return forgetful(request, answer)
        return None

    api.fault = lose_the_first
    window.button("Save").dblclick()
    window.sees("Saved.")
    assert the_template(db)["body"] == "Hello"
    assert lost

    window.page.getByRole("tab", name="Edit").click()
    window.fill("Text", "Mine")
    db.execute("update message_templates set body = 'Theirs'")
    window.press("Save")
    window.sees("Somebody has changed this meanwhile.")
    assert the_template(db)["body"] == "Theirs"


def test_templates_are_found_and_belong_to_their_owner(desk, db, user):
    mine, theirs = user(), user()
    for person, name in ((mine, "Mine (a)"), (mine, "Mine b"), (theirs, "Theirs")):
        person.insert("message_templates", name=name, body=f"{name} for {{name}}", owner_id=person.id)
    window = desk(mine).open("templates")
    window.sees("Mine (a)")
    assert window.page.getByText("Theirs").count() == 0
    window.fill("Search templates", "(A) f")
    window.misses("Mine b")
    window.fill("Search templates", "nothing")
    window.sees("No template has such a name or text.")
    [row] = db.execute("select id from message_templates where name = 'Theirs'").fetchall()
    window.open(f"templates/{row['id']}/preview")
    window.sees("There is no such template.")


TEXTS = [
    "Hi {{ NAME }}, {doctor-name} {doctor name} {Doctor_Name}", "{name}{{name}}{{name}", "{{a} {b}} {c {d}",
    "{1} {_x} {}", "{ name } {\tname} {name\t}", "{नाम} {اسم} {naïve} {ÄÖ}", "{😀} {a😀}", "{a\u00a0b} {a  b} {a--b}",
    "{a\nb}", "no place",
]  # fmt: skip


def test_the_fields_that_a_form_offers_are_those_that_the_database_finds(folder, db):
    found = [one(db, "select private.names_in(private.cut(%s))", text) for text in TEXTS]
    assert in_node(folder, "places.js", "module.placesIn(one)", TEXTS) == found


def test_no_cell_of_a_table_is_a_formula(folder):
    written = {
        '=HYPERLINK("http://x")': '"\'=HYPERLINK(""http://x"")"', "@SUM(A1)": "'@SUM(A1)", "-2+3": "'-2+3",
        "+2+3": "'+2+3", " =1": "' =1", "\u00a0=1": "'\u00a0=1", "\t=1": "'\t=1", "\uff1d1": "'\uff1d1",
        "+91 98765 43210": "+91 98765 43210", "+1|calc": "'+1|calc", "a=b": "a=b", "": "", None: "",
        "a,b": '"a,b"', "a\r\nb": '"a\nb"', "\r=1": '"\'\n=1"', "نص": "نص", 12: "12",
    }  # fmt: skip
    lines = in_node(folder, "csv.js", "module.line([one])", list(written))
    assert lines == [f"{text}\r\n" for text in written.values()]


def approve(db, name, places, header=None, header_places=None, form="positional", status="APPROVED"):
    """As the daemon has read it from WhatsApp. Connections that name no gateway go through the Cloud API."""
    account = "insert into private.template_accounts values ('1', true, now()) on conflict do nothing"
    db.execute(account)
    sql = """
        insert into private.approved_templates
            (account_id, name, language, status, format, places, header, header_places)
        values ('1', %s, 'en_US', %s, %s, %s, %s, %s)
    """
    db.execute(sql, (name, status, form, places, header, header_places))


def test_the_approved_template_that_stands_for_a_text_is_chosen_and_its_places_filled(desk, db, person):
    approve(db, "visit", ["1", "2"], "document")
    approve(db, "offer", ["name", "amount"], "text", ["amount"], form="named")
    approve(db, "taken_back", ["1"], status="REJECTED")
    approve(db, "where", [], "location")  # nothing of ours fills it
    window = desk(person).open("templates/new")
    window.fill("Name", "Visit")
    window.fill("Text", "Dear {name}, see you on {date}.")
    window.field("Approved template").waitFor()
    offered = window.page.locator("select[name=approved] option").allTextContents()
    assert offered == ["None", "offer (en_US)", "visit (en_US)", "Another one: write its name"]

    window.choose("Approved template", "visit (en_US)")
    assert [window.field(f"Field for {{{{{n}}}}}").inputValue() for n in (1, 2)] == ["name", "date"]
    window.fill("Field for {{2}}", "day")
    window.fill("Link to the header: a document", "https://example.com/{bill}.pdf")
    window.fill("File name", "Bill.pdf")
    window.fill("{bill}", "12")  # a field that the text has not
    window.page.reload()
    window.press("Save")
    window.sees("Saved.")
    row = the_template(db)
    header = {"type": "document", "link": "https://example.com/{bill}.pdf", "filename": "Bill.pdf"}
    assert row["cloud"] == {"name": "visit", "language": "en_US", "parameters": ["name", "day"], "header": header}
    assert row["defaults"] == {"bill": "12"}

    window.page.getByRole("tab", name="Edit").click()
    window.choose("Approved template", "offer (en_US)")
    window.sees("Its places are filled by the fields of the same names: {name}, {amount}.")
    window.press("Save")
    window.sees("Saved.")
    assert the_template(db)["cloud"] == {
        "name": "offer", "language": "en_US", "format": "named", "parameters": ["name", "amount"], "header": "amount",
    }  # fmt: skip
    window.page.getByRole("tab", name="Edit").click()
    window.choose("Approved template", "")
    window.press("Save")
    window.sees("Saved.")
    assert the_template(db)["cloud"] is None


def test_an_approved_template_of_which_nothing_is_known_is_written(desk, db, person):
    """And an edit of something else leaves it as it was written elsewhere."""
    given = {"name": "Offer", "body": "Hi {name}", "owner_id": person.id}
    cloud = {"name": "old", "language": "hi", "format": "positional", "parameters": []}
    template = person.insert("message_templates", **given, cloud=cloud)
    window = desk(person).open(f"templates/{template['id']}/edit")
    window.fill("Name", "Loan")
    window.press("Save")
    window.sees("Saved.")
    row = the_template(db)
    assert (row["name"], row["cloud"], row["version"]) == ("Loan", cloud, 1)

    window.page.getByRole("tab", name="Edit").click()
    assert window.field("Its name at WhatsApp").inputValue() == "old"
    window.fill("Its name at WhatsApp", "loan_offer")
    window.fill("Fields that fill them, in order", "name, date")
    window.choose("Its header", "text")
    window.fill("Field for the header's place", "branch")
    window.press("Save")
    window.sees("Saved.")
    written = {**cloud, "name": "loan_offer", "parameters": ["name", "date"], "header": "branch"}
    assert the_template(db)["cloud"] == written
    window.press("Close")
    window.page.getByRole("dialog").waitFor(state="detached")
    window.sees("Through the Cloud API: loan_offer (hi)")
    window.open("campaigns/new")
    window.choose("Template", template["id"])
    window.field("{branch}").waitFor()  # which a campaign can fill
