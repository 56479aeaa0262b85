"""Who a message goes to, from what the front end wrote into `contact_id`."""

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
from worker.recipient import address, e164, is_plain, mask, parsed


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
        "0091 98765 43210",
        "(+91) 98765.43210",
        "٩٨٧٦٥٤٣٢١٠",
    ],
)
def test_a_number_without_a_plus_belongs_to_the_region(written: str) -> None:
    assert address(written, None, "IN") == "+919876543210"


def test_a_number_whose_plus_was_forgotten_is_recognised_in_any_region() -> None:
    assert address("628123456789", None, "IN") == "+628123456789"
    assert address("628123456789", None, None) == "+628123456789"


def test_ten_digits_without_a_region_are_not_guessed_into_another_country() -> None:
    # Read with a plus this Washington number would be an Egyptian one.
    with pytest.raises(BadRecipient, match="country code"):
        address("2025550123", None, None)


def test_a_number_of_a_range_the_library_does_not_know_is_believed_at_full_length() -> None:
    assert address("5551234567", None, "US") == "+15551234567"


@pytest.mark.parametrize("contact_id", ["42", "1234567", "12345678"])
def test_the_id_of_a_deleted_contact_is_not_taken_for_a_number(contact_id: str) -> None:
    with pytest.raises(BadRecipient, match="neither a contact nor a full phone number"):
        address(contact_id, None, "IN")


@pytest.mark.parametrize("written", ["", "Asha", "3f2a9c1e-0b5d-4c57-9a49-6b1b5a3d2f10", "call 9876543210"])
def test_words_are_not_numbers(written: str) -> None:
    with pytest.raises(BadRecipient, match="neither a contact nor a phone number"):
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
    assert found.startswith("+") or "@" in found or 0 < len(reason) < 200


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
