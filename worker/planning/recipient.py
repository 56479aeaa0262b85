"""Pure: from `contact_id` to the address that a gateway is given."""

import re
from functools import lru_cache

from phonenumbers import (
    COUNTRY_CODE_TO_REGION_CODE,
    NumberParseException,
    PhoneMetadata,
    PhoneNumber,
    ValidationResult,
    is_possible_number_with_reason,
    is_valid_number,
    national_significant_number,
    parse,
)

from worker.errors import BadRecipient
from worker.kinds import kind_of
from worker.text.characters import plain, spelled

PERSON_ID = re.compile(r"\d{6,16}@(c\.us|s\.whatsapp\.net)|\d{6,20}@lid")
GROUP_ID = re.compile(r"\d{6,20}(-\d{6,20})?@g\.us|\d{6,20}@newsletter")
DOMAINS = ("c.us", "s.whatsapp.net", "lid", "g.us", "newsletter")
LIKE_IDS = "it looks like 919876543210@c.us, a group's like 1203630@g.us"
# A person as one business portfolio knows them, with or without a number (Meta, "Business-scoped user IDs"): the
# country, ENT for an id of several portfolios, and up to 128 letters and digits.
USER_ID = re.compile(r"([A-Za-z]{2}\.(?:[Ee][Nn][Tt]\.)?)([A-Za-z0-9]{1,128})")
# What people write between digits; a letter means that it is no phone number, whatever a parser makes of it.
LOOKS_LIKE_A_NUMBER = re.compile(r"[\d\s().\-/+~]+")
NUMBERS_OWN = re.compile(r"[\d\s().\-/+~]")
# WhatsApp's FAQ "About international phone number format": Mexico's 1 after the 52 is no part of the number any more,
# as are the prefixes 044 and 045, of which parsers leave the last two digits.
MEXICO, MEXICOS_PREFIX = 52, re.compile(r"(?:1|44|45)(\d{10})")
SHORTEST_WITH_COUNTRY_CODE = 11
SHORTEST_UNKNOWN_RANGE = 10


def address(contact_id: str, contact_phone: str | None, region: str | None) -> str:
    """E.164 with its plus, or a WhatsApp id as written.

    Contains `@`, starts with `+` or is a business-scoped user id: itself. Else the phone number of the owner's contact
    with that id, else a plausible number.
    contact_phone: None where no such contact exists, "" where it has no number.
    region: ISO 3166 code of the country that a number without one belongs to ("IN"), or None.
    Raises BadRecipient, whose text tells the author what to change and never holds the whole number.
    """
    written = plain(contact_id)
    if is_direct(written) or contact_phone is None:
        return resolve(written, region)
    if not (phone := plain(contact_phone)):
        raise BadRecipient(f"Contact {mask(written)} has no phone number: add one, then schedule again.")
    return resolve(phone, region)


def is_direct(contact_id: str) -> bool:
    """Whether it is an address itself rather than a contact's id."""
    written = plain(contact_id)
    return "@" in written or written.startswith("+") or is_user_id(written)


def is_user_id(written: str) -> bool:
    """Whether it is a business-scoped user id, which leads to a person through the Cloud API alone."""
    return USER_ID.fullmatch(written) is not None


def refuse_foreign(address: str, gateway: str | None) -> None:
    """Raises BadRecipient where this gateway cannot write to such an address."""
    if is_user_id(address) and not kind_of(gateway).takes_user_ids:
        raise BadRecipient(
            f"{mask(address)!r} is a business-scoped user id, which only the WhatsApp Cloud API can write to:"
            " choose a connection of it, or write the phone number."
        )


def mask(address: str) -> str:
    """For logs and errors: the last four characters of the number, and the kind of id ("…3210@c.us")."""
    name, at, domain = plain(address).partition("@")
    return (name if len(name) <= 6 else f"…{name[-4:]}") + at + re.sub(r"\d{5,}", "…", domain)[:20]


@lru_cache(maxsize=65_536)
def resolve(written: str, region: str | None) -> str:
    """An address from what stands in one field: a WhatsApp id or a phone number in any common form."""
    if "@" in written:
        return whatsapp_id(written)
    if scoped := USER_ID.fullmatch(written):
        return scoped[1].upper() + scoped[2]
    if not LOOKS_LIKE_A_NUMBER.fullmatch(written):
        raise BadRecipient(f"{mask(written)!r} is neither a contact nor a phone number: {advice(written)}.")
    if written.startswith("00"):
        written = f"+{written[2:]}"
    return international(written) if "+" in written else national(written, region)


def advice(written: str) -> str:
    """What to do about something that is no number; where it nearly is one, what is wrong with it."""
    foreign = dict.fromkeys(c for c in written if not NUMBERS_OWN.fullmatch(c))
    if sum(c.isdigit() for c in written) < 2 * len(foreign) + 4:
        return "pick a contact or write the number"
    return f"take out {', '.join(spelled(c) for c in list(foreign)[:3])}"


def whatsapp_id(written: str) -> str:
    identifier = written.lower()
    if PERSON_ID.fullmatch(identifier) or GROUP_ID.fullmatch(identifier):
        return identifier
    name, _, domain = identifier.partition("@")
    foreign = [spelled(c) for c in dict.fromkeys(name) if not c.isdigit() and c != "-"]
    nearly = domain in DOMAINS and foreign and any(c.isdigit() for c in name)
    hint = f"take out {', '.join(foreign[:3])}" if nearly else LIKE_IDS
    raise BadRecipient(f"{mask(written)!r} is no WhatsApp id: {hint}.")


@lru_cache(maxsize=1024)
def numbering(code: str) -> tuple[frozenset[int], re.Pattern[str]] | None:
    """Of a country code: how many digits follow it, and what a parser might take off them. None: no such code."""
    regions = COUNTRY_CODE_TO_REGION_CODE.get(int(code))
    if not regions or code[0] == "0":
        return None
    metadata = PhoneMetadata.metadata_for_region_or_calling_code(int(code), regions[0])
    if metadata is None or metadata.general_desc is None:
        return None
    return frozenset(metadata.general_desc.possible_length), re.compile(metadata.national_prefix_for_parsing or "(?!)")


def is_plain(written: str) -> bool:
    """Whether it stands there as E.164 already, so that the parser, which takes 30 µs, would give it back as it is."""
    digits = written[1:]
    if len(written) < 5 or written[0] != "+" or not (digits.isascii() and digits.isdigit()):
        return False
    for n in (1, 2, 3):
        if found := numbering(digits[:n]):
            lengths, prefix = found
            return len(digits) - n in lengths and not prefix.match(digits, n)
    return False


def international(written: str) -> str:
    if is_plain(written):
        return written
    number = parsed(written, None)
    if number is None:
        raise BadRecipient(f"The number {mask(written)} has no country code that exists: check what follows the plus.")
    if is_possible_number_with_reason(number) != ValidationResult.IS_POSSIBLE:
        raise BadRecipient(f"The number {mask(written)} {miscounted(number)}: check it.")
    return e164(number)


def miscounted(number: PhoneNumber) -> str:
    """How many digits there are, and how many there would have to be."""
    digits, found = len(national_significant_number(number)), numbering(str(number.country_code))
    right = sorted(found[0]) if found else [0]
    wanted = f"{right[0]}" if len(right) == 1 else f"{right[0]} to {right[-1]}"
    return (
        f"has too few or too many digits for its country: {digits} after +{number.country_code},"
        f" where numbers have {wanted}"
    )


def national(written: str, region: str | None) -> str:
    """Read as a number of `region`, then as one whose plus was forgotten.

    Without a plus only ranges that exist are believed: a short number may be the id of a deleted contact, and
    a wrong guess reaches a stranger.
    """
    digits = re.sub(r"\D", "", written)
    local = parsed(written, region) if region else None
    if local and is_valid_number(local):
        return e164(local)
    if local and (doubled := without_second_code(local)):
        return e164(doubled)
    forgotten = parsed(f"+{digits}", None) if len(digits) >= SHORTEST_WITH_COUNTRY_CODE else None
    if forgotten and is_valid_number(forgotten):
        return e164(forgotten)
    if (
        local
        and len(digits) >= SHORTEST_UNKNOWN_RANGE
        and is_possible_number_with_reason(local) == ValidationResult.IS_POSSIBLE
    ):
        return e164(local)
    raise BadRecipient(
        f"{mask(written)} is neither a contact nor a full phone number: pick a contact, or write the number"
        " with its country code (+91 …)."
    )


def without_second_code(number: PhoneNumber) -> PhoneNumber | None:
    """Of "0 91 98765 43210", as many in India write it: the 0 went as a trunk prefix, and the code came twice."""
    digits, code = national_significant_number(number), str(number.country_code)
    once = parsed(f"+{digits}", None) if digits.startswith(code) else None
    return once if once and is_valid_number(once) else None


def parsed(written: str, region: str | None) -> PhoneNumber | None:
    try:
        number = parse(written, region)
    except NumberParseException:
        return None
    if number.country_code == MEXICO and (mexican := MEXICOS_PREFIX.fullmatch(str(number.national_number))):
        return PhoneNumber(MEXICO, int(mexican[1]))
    return number


def e164(number: PhoneNumber) -> str:
    return f"+{number.country_code}{national_significant_number(number)}"
