"""Who a message goes to, from what the front end wrote into `contact_id`."""

import sys
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from phonenumbers import (
    COUNTRY_CODE_TO_REGION_CODE,
    SUPPORTED_REGIONS,
    ValidationResult,
    example_number,
    is_possible_number_with_reason,
)

from worker.errors import BadRecipient
from worker.planning.recipient import address, e164, is_plain, mask, parsed, refuse_foreign


@pytest.mark.parametrize(
    "identifier",
    [
        "919876543210@c.us",
        "919876543210@s.whatsapp.net",
        "120363025246125486@g.us",
        "5511999999999-1623158371@g.us",
        "210913009393817@lid",
    ],
)
def test_a_whatsapp_id_is_itself_even_where_a_contact_matches(identifier: str) -> None:
    assert address(identifier, "+14155550100", "IN") == identifier


def test_a_whatsapp_id_is_trimmed_and_lower_cased() -> None:
    assert address(" 919876543210@C.US ", None, None) == "919876543210@c.us"


@pytest.mark.parametrize(
    "identifier",
    [
        "asha@example.com",
        "@c.us",
        "12@c.us",
        "status@broadcast",
        "919876543210@c.us\nx",
        "91 98765 43210@c.us",
        "1@2@g.us",
    ],
)
def test_anything_else_with_an_at_sign_is_refused(identifier: str) -> None:
    with pytest.raises(BadRecipient, match="is no WhatsApp id"):
        address(identifier, None, "IN")


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("+919876543210", "+919876543210"),
        ("+91 98765 43210", "+919876543210"),
        ("+91-98765-43210", "+919876543210"),
        ("+1 (415) 555-0100", "+14155550100"),
        ("+44 (0)7911 123456", "+447911123456"),
        ("+4407911123456", "+447911123456"),
        ("+39 02 3661 8300", "+390236618300"),
    ],
)
def test_a_number_with_a_plus_is_itself_whatever_the_region_and_the_contact(written: str, expected: str) -> None:
    assert address(written, None, "US") == expected
    assert address(written, "+919999999999", None) == expected


@pytest.mark.parametrize("written", ["+12", "+9990000000001", "+91987654321012345", "+", "+abc", "+91 98765 4321O"])
def test_a_number_with_a_plus_that_cannot_exist_is_refused(written: str) -> None:
    with pytest.raises(BadRecipient):
        address(written, None, "IN")


@pytest.mark.parametrize(
    ("phone", "region", "expected"),
    [
        ("+919876543210", None, "+919876543210"),
        ("9876543210", "IN", "+919876543210"),
        ("628123456789", None, "+628123456789"),
        ("628123456789@s.whatsapp.net", None, "628123456789@s.whatsapp.net"),
    ],
)
def test_a_contact_id_becomes_the_contacts_number(phone: str, region: str | None, expected: str) -> None:
    assert address("42", phone, region) == expected


def test_a_contact_wins_over_reading_its_id_as_a_number() -> None:
    assert address("9876543210", "+14155550100", "IN") == "+14155550100"


def test_a_contact_without_a_number_says_so() -> None:
    with pytest.raises(BadRecipient, match="Contact 42 has no phone number: add one"):
        address("42", " ", "IN")


@pytest.mark.parametrize(
    "written",
    [
        "9876543210",
        "09876543210",
        "98765 43210",
        "98765-43210",
        "919876543210",
        "0 91 98765 43210",
        "0091 98765 43210",
        "(+91) 98765.43210",
        "٩٨٧٦٥٤٣٢١٠",
    ],
)
def test_a_number_without_a_plus_belongs_to_the_region(written: str) -> None:
    assert address(written, None, "IN") == "+919876543210"


@pytest.mark.parametrize("region", [None, "IN"])
@pytest.mark.parametrize("digits", ["628123456789", "12025550123", "4915112345678"])
def test_a_number_whose_plus_was_forgotten_is_recognised_in_any_region(digits: str, region: str | None) -> None:
    assert address(digits, None, region) == f"+{digits}"


def test_ten_digits_without_a_region_are_not_guessed_into_another_country() -> None:
    # Read with a plus this Washington number would be an Egyptian one.
    with pytest.raises(BadRecipient, match="country code"):
        address("2025550123", None, None)


def test_a_number_of_a_range_the_library_does_not_know_is_believed_at_full_length() -> None:
    assert address("5551234567", None, "US") == "+15551234567"


def test_a_shorter_one_of_such_a_range_may_be_anything() -> None:
    with pytest.raises(BadRecipient, match="neither a contact nor a full phone number"):
        address("123456789", None, "AU")


@pytest.mark.parametrize("contact_id", ["42", "1234567", "12345678"])
def test_the_id_of_a_deleted_contact_is_not_taken_for_a_number(contact_id: str) -> None:
    with pytest.raises(BadRecipient, match="neither a contact nor a full phone number"):
        address(contact_id, None, "IN")


@pytest.mark.parametrize("written", ["", "Asha", "3f2a9c1e-0b5d-4c57-9a49-6b1b5a3d2f10", "call 9876543210"])
def test_words_are_not_numbers(written: str) -> None:
    with pytest.raises(BadRecipient, match="neither a contact nor a phone number"):
        address(written, None, "IN")


@pytest.mark.parametrize(
    "written",
    [
        "+52 1 55 1234 5678", "+5215512345678", "5215512345678", "0052 1 55 1234 5678", "+52 55 1234 5678",
        "+52 044 55 1234 5678", "+52 045 55 1234 5678", "+52 01 55 1234 5678", "+52 (1) 55-1234-5678",
    ],
)  # fmt: skip
def test_mexicos_old_prefixes_are_no_part_of_the_number(written: str) -> None:
    assert address(written, None, None) == "+525512345678"
    assert address("42", written, None) == "+525512345678"


@pytest.mark.parametrize("written", ["044 55 1234 5678", "1 55 1234 5678", "55 1234 5678", "01 55 1234 5678"])
def test_mexicos_old_prefixes_are_known_at_home(written: str) -> None:
    assert address(written, None, "MX") == "+525512345678"


def test_a_whatsapp_id_with_mexicos_one_stays_as_it_is() -> None:
    assert address("5215512345678@c.us", None, None) == "5215512345678@c.us"


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("+54 9 11 1234-5678", "+5491112345678"),
        ("+54 11 15 1234-5678", "+5491112345678"),
        ("+55 31 98765-4321", "+5531987654321"),
        ("+55 (31) 8765-4321", "+553187654321"),
    ],
)
def test_argentinas_and_brazils_numbers_keep_what_belongs_to_them(written: str, expected: str) -> None:
    assert address(written, None, None) == expected


INVISIBLE = [
    chr(point)
    for point in range(0x80, sys.maxunicode + 1)
    if unicodedata.category(chr(point)) == "Cf" or 0xFE00 <= point <= 0xFE0F or 0xE0100 <= point <= 0xE01EF
]


def test_every_invisible_character_of_unicode_is_passed_over() -> None:
    assert len(INVISIBLE) > 400
    for character in [*INVISIBLE, "\u3164", "\u115f", "\u1160", "\uffa0", "\u2800", "\u034f", "\u20e3", "\u17b4"]:
        pasted = f"{character}+91 98765{character}43210{character}"
        assert address(pasted, "+14155550100", None) == "+919876543210", f"U+{ord(character):04X}"
        assert address("42", pasted, None) == "+919876543210", f"U+{ord(character):04X}"


def test_the_digits_of_every_script_are_digits() -> None:
    zeros = [chr(p) for p in range(sys.maxunicode + 1) if unicodedata.decimal(chr(p), None) == 0]
    assert len(zeros) > 60
    for zero in zeros:
        pasted = "+" + "".join(chr(ord(zero) + int(digit)) for digit in "919876543210")
        assert address(pasted, None, None) == "+919876543210", unicodedata.name(zero)


@pytest.mark.parametrize(
    "pasted",
    [
        "＋９１（９８７６５）４３２１０", "﹢91﹣98765﹣43210", "⁺91 98765 43210", "➕91 98765 43210",
        "﬩91 98765 43210",
        "+91\u221298765\u2212 43210", "+91－98765ー43210", "+91〜98765〜43210", "+91\u301098765\u301143210",
        "+91\u00a098765\u202f43210", "+91\u300098765\u200343210", "+91\u202898765\u202943210", "+91\t98765\r\n43210",
        "+91\u008598765\x0043210", "+91．98765·43210", "+91／98765\u204443210", "\ufeff+91 98765 43210\x00",
        "+9️⃣1️⃣ 9️⃣8️⃣7️⃣6️⃣5️⃣ 43210", "\u2066+91 98765 43210\u2069", "\u202d+91\u2011\u00ad98765\u201343210\u202c",
    ],
)  # fmt: skip
def test_signs_that_look_like_those_of_a_number_are_taken_for_them(pasted: str) -> None:
    assert address(pasted, "+14155550100", None) == "+919876543210"
    assert address("42", pasted, "US") == "+919876543210"


@pytest.mark.parametrize(
    "pasted", ["\u200e919876543210@c.us\u200f", "９１９８７６５４３２１０＠ｃ．ｕｓ", "91\u00ad9876543210@C.US "]
)
def test_an_id_that_was_pasted_is_the_id(pasted: str) -> None:
    assert address(pasted, None, None) == "919876543210@c.us"


@pytest.mark.parametrize(
    ("written", "culprit"),
    [
        ("+91 98765 4321O", "'O'"),
        ("+91 98765 4321\u041e", r"U\+041E \(cyrillic capital letter o\)"),
        ("+91 98765 43210²", r"U\+00B2 \(superscript two\)"),
        ("+91 98765 4321①", r"U\+2460 \(circled digit one\)"),
        ("+91 98765 4321\u06640\u0336", r"U\+0336 \(combining long stroke overlay\)"),
        ("+91 98765 43210;", "';'"),
        ("91987O543210@c.us", "'o'"),
        ("9198765\u04323210@s.whatsapp.net", r"U\+0432"),
        ("91 98765 43210@c.us", "' '"),
        ("+919876543210@c.us", r"'\+'"),
        ("+91 98765 43210 / x12", "'x'"),
        ("+91 98765 43210\u2065", r"U\+2065 \(no character\)"),
    ],
)
def test_what_is_wrong_with_a_number_is_shown_and_not_the_number(written: str, culprit: str) -> None:
    with pytest.raises(BadRecipient, match=f"take out {culprit}") as refused:
        address(written, None, None)
    assert "98765" not in str(refused.value)


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("+91 98765", r"5 after \+91, where numbers have \d+ to \d+"),
        ("+52 1 1 55 1234 5678", r"12 after \+52, where numbers have 10"),
        ("+1 415 555 01000", r"11 after \+1, where numbers have 10"),
    ],
)
def test_a_miscounted_number_says_by_how_much(written: str, words: str) -> None:
    with pytest.raises(BadRecipient, match=words):
        address(written, None, None)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("BR.1502576394655843", "BR.1502576394655843"),
        ("US.ENT.11815799212886844830", "US.ENT.11815799212886844830"),
        (" us.13491208655302741918\u200e", "US.13491208655302741918"),
        ("IN.aB3xY9", "IN.aB3xY9"),
        ("US." + "7" * 128, "US." + "7" * 128),
    ],
)
def test_a_business_scoped_user_id_is_itself(written: str, expected: str) -> None:
    assert address(written, "+14155550100", "IN") == address("42", written, "IN") == expected
    refuse_foreign(expected, "cloud")


@pytest.mark.parametrize("gateway", ["waha", "evolution", "wppconnect", "bullmq"])
def test_a_business_scoped_user_id_leads_nowhere_else(gateway: str) -> None:
    with pytest.raises(BadRecipient, match=r"…5843' is a business-scoped user id, which only the WhatsApp Cloud API"):
        refuse_foreign("BR.1502576394655843", gateway)
    refuse_foreign("+919876543210", gateway)


@pytest.mark.parametrize(
    "written", ["BR.", "B.1502576394655843", "BRA.15025", "BR.15025 76", "US." + "7" * 129, "BR-15025"]
)
def test_what_only_looks_like_a_user_id_is_none(written: str) -> None:
    with pytest.raises(BadRecipient):
        address(written, None, "IN")


def told(contact_id: str, phone: str | None, region: str | None) -> tuple[str, str]:
    """(address, "") or ("", the text for the author)."""
    try:
        return address(contact_id, phone, region), ""
    except BadRecipient as refused:
        return "", str(refused)


@given(st.text(max_size=30), st.one_of(st.none(), st.text(max_size=30)), st.sampled_from([None, "IN", "US"]))
def test_whatever_is_written_becomes_an_address_or_a_short_reason(
    contact_id: str, phone: str | None, region: str | None
) -> None:
    found, reason = told(contact_id, phone, region)
    assert found.startswith("+") or "@" in found or "." in found or 0 < len(reason) < 300


@given(st.from_regex(r"(\+|x@)?[0-9]{8,18}(@[a-z]{2,4})?", fullmatch=True))
def test_a_refusal_never_holds_the_whole_number(written: str) -> None:
    _, reason = told(written, None, "IN")
    assert written.strip("+x@abcdefghijklmnopqrstuvwyz") not in reason or not reason


@pytest.mark.parametrize(
    ("full", "short"),
    [
        ("+919876543210", "…3210"),
        ("x@919876543210", "x@…"),
        ("919876543210@c.us", "…3210@c.us"),
        ("42", "42"),
        ("", ""),
    ],
)
def test_a_mask_keeps_the_end_alone(full: str, short: str) -> None:
    assert mask(full) == short


def believed(written: str) -> None:
    """The parser, which is passed by, must take such a number and give it back as it is."""
    number = parsed(written, None)
    assert number is not None
    assert is_possible_number_with_reason(number) == ValidationResult.IS_POSSIBLE
    assert e164(number) == written


@given(st.sampled_from(sorted(COUNTRY_CODE_TO_REGION_CODE)), st.from_regex(r"[0-9]{4,13}", fullmatch=True))
@settings(max_examples=2000)
def test_what_passes_the_parser_by_is_what_the_parser_gives_back(code: int, digits: str) -> None:
    if is_plain(written := f"+{code}{digits}"):
        believed(written)


def test_numbers_of_nearly_every_country_pass_the_parser_by() -> None:
    examples = [e164(number) for region in SUPPORTED_REGIONS if (number := example_number(region))]
    plain = [written for written in examples if is_plain(written)]
    for written in plain:
        believed(written)
    assert len(plain) > 0.8 * len(examples)


@pytest.mark.parametrize(
    ("written", "passes"),
    [
        ("+14155550100", True), ("+919876543210", True),
        ("919876543210", False), ("x14155550100", False), ("+1415555010\u0660", False), ("+49", False), ("+", False),
        ("+99912345678", False), ("+4407911123456", False), ("+1 4155550100", False),
    ],
)  # fmt: skip
def test_what_is_e164_already_passes_the_parser_by(written: str, passes: bool) -> None:
    assert is_plain(written) is passes


PICK = "is neither a contact nor a phone number: pick a contact or write the number."
NO_ID = "is no WhatsApp id: it looks like 919876543210@c.us, a group's like 1203630@g.us."
NOT_FULL = (
    "is neither a contact nor a full phone number: pick a contact, or write the number with its country code (+91 …)."
)
NO_CODE = "has no country code that exists: check what follows the plus."


@pytest.mark.parametrize(
    ("written", "phone", "region", "told"),
    [
        ("Dr. No", None, None, f"'Dr. No' {PICK}"),
        ("1234a5", None, "IN", f"'1234a5' {PICK}"),
        ("12345a6", None, "IN", "'…45a6' is neither a contact nor a phone number: take out 'a'."),
        ("1234ab567", None, "IN", f"'…b567' {PICK}"),
        ("1234ab5678", None, "IN", "'…5678' is neither a contact nor a phone number: take out 'a', 'b'."),
        ("98a7b6c5d4321012", None, "IN", "'…1012' is neither a contact nor a phone number: take out 'a', 'b', 'c'."),
        ("91987x6543210@c.us", None, None, "'…3210@c.us' is no WhatsApp id: take out 'x'."),
        ("1a2b3c4d5@lid", None, None, "'…c4d5@lid' is no WhatsApp id: take out 'a', 'b', 'c'."),
        ("ab@c.us", None, None, f"'ab@c.us' {NO_ID}"),
        ("a1@b@c.us", None, None, f"'a1@b@c.us' {NO_ID}"),
        ("91-987-65@c.us", None, None, f"'…7-65@c.us' {NO_ID}"),
        ("9198x@nowhere.net", None, None, f"'9198x@nowhere.net' {NO_ID}"),
        ("1@nowhere.net", None, None, f"'1@nowhere.net' {NO_ID}"),
        ("+999123456", None, None, f"The number …3456 {NO_CODE}"),
        ("+491", None, None, f"The number +491 {NO_CODE}"),
        (
            "+91987654",
            None,
            None,
            "The number …7654 has too few or too many digits for its country: 6 after +91, where numbers have 8 to 13:"
            " check it.",
        ),
        (
            "+1202555",
            None,
            None,
            "The number …2555 has too few or too many digits for its country: 6 after +1, where numbers have 10:"
            " check it.",
        ),
        ("12345", None, None, f"12345 {NOT_FULL}"),
        ("1234567", None, "IN", f"…4567 {NOT_FULL}"),
        ("4721930000", None, None, f"…0000 {NOT_FULL}"),  # ten digits, though Norway has such a number
        ("47 2193 0000", None, None, f"…0000 {NOT_FULL}"),
        ("0 91 12345", None, "IN", f"…2345 {NOT_FULL}"),
        ("12345", "", None, "Contact 12345 has no phone number: add one, then schedule again."),
    ],
)
def test_a_refusal_says_in_whole_what_to_change(written: str, phone: str | None, region: str | None, told: str) -> None:
    with pytest.raises(BadRecipient) as refused:
        address(written, phone, region)
    assert str(refused.value) == told


@pytest.mark.parametrize("gateway", ["waha", "evolution", None])
def test_a_user_id_of_the_cloud_api_s_is_refused_elsewhere_in_whole_words(gateway: str | None) -> None:
    with pytest.raises(BadRecipient) as refused:
        refuse_foreign("IN.abc123456", gateway)
    assert str(refused.value) == (
        "'…3456' is a business-scoped user id, which only the WhatsApp Cloud API can write to: choose a connection of"
        " it, or write the phone number."
    )


@pytest.mark.parametrize(
    ("whole", "shown"), [("123456", "123456"), ("1234567", "…4567"), (f"123456@{'x' * 30}", f"123456@{'x' * 20}")]
)
def test_a_mask_shows_six_characters_whole_and_twenty_of_a_domain(whole: str, shown: str) -> None:
    assert mask(whole) == shown
