"""Which links may be passed on: judged as those read them who fetch them.

All gateways that fetch attachments themselves run on Node, whose URLs are those of the WHATWG standard: full-width
digits, `。` for a dot, percent-encoded hosts, 0x7f.1. pydantic-core's parser (the Rust crate `url`) follows the same
standard, and what is passed on is what it read, so that no second reading can differ. Names are judged again by what
they resolve to (resolver.py). docs/messages.md tells what is left open.
"""

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from unicodedata import category

from pydantic_core import Url

from worker.errors import BadMessage

URL_LIMIT = 2048
# RFC 6761, RFC 6762 with its appendix G, RFC 8375, ICANN's `.internal`: names that mean something in one network alone.
INSIDE = (
    ".localhost", ".local", ".internal", ".localdomain", ".lan", ".home", ".corp", ".private", ".intranet",
    ".home.arpa",
)  # fmt: skip
# RFC 6052 §2.1 and RFC 8215: an IPv4 address in its last 32 bits, where a gateway translates.
NAT64 = (IPv6Network("64:ff9b::/96"), IPv6Network("64:ff9b:1::/48"))
COMPATIBLE = IPv6Network("::/96")  # RFC 4291 §2.5.5.1


@dataclass(frozen=True, slots=True)
class Links:
    """Which links may be passed on.

    allow_http: plain http too.
    we_fetch: the link would be fetched from inside our network, so it must not point into it.
    trusted: hosts that may be inside all the same, such as a file store of one's own.
    """

    allow_http: bool = False
    we_fetch: bool = False
    trusted: frozenset[str] = frozenset()


def checked(written: str, links: Links) -> str:
    """The link as its fetcher reads it. Raises BadMessage where it must not be passed on."""
    scheme, separator, rest = written.partition("://")
    if separator and scheme.lower() != "https" and not (links.allow_http and scheme.lower() == "http"):
        raise BadMessage("The attachment's address must begin with https://.")
    if (
        not separator
        or rest[:1] in ("", "/")
        or len(written) > URL_LIMIT
        or "\\" in written
        or not is_one_word(written)
    ):
        raise BadMessage("The attachment's address is not a valid URL: it looks like https://example.com/file.pdf.")
    try:
        url = Url(written)
    except ValueError:
        raise BadMessage("The attachment's address is not a valid URL: check the name of its host.") from None
    if url.username or url.password or "@" in rest.partition("/")[0].partition("?")[0].partition("#")[0]:
        raise BadMessage("The attachment's address must not hold a user name or password.")
    refuse_inside(url.host or "", links)
    return str(url)


def is_one_word(written: str) -> bool:
    return not any(character.isspace() or category(character) == "Cc" for character in written)


def refuse_inside(host: str, links: Links) -> None:
    """Raises BadMessage for a host, or an address that it resolved to, that lies inside our network."""
    if links.we_fetch and host not in links.trusted and is_inside(host):
        raise BadMessage(
            "The attachment's address points into a private network: put the file where the Internet can read it"
            " (an operator can name a host in TRUSTED_MEDIA_HOSTS)."
        )


def host_of(url: str) -> str:
    """Of a link that `checked` gave back."""
    return Url(url).host or ""


def is_inside(host: str) -> bool:
    """Loopback, link-local, private and other addresses that are not the open Internet's, and names of one network."""
    name = host.removeprefix("[").removesuffix("]").rstrip(".")
    try:
        return is_private(ip_address(name.partition("%")[0]))
    except ValueError:
        return "." not in name or f".{name}".endswith(INSIDE)


def is_private(address: IPv4Address | IPv6Address) -> bool:
    if isinstance(address, IPv6Address):
        if any(is_private(inner) for inner in embedded(address)):
            return True
        if address.is_site_local:
            return True
    return address.is_multicast or not address.is_global


def embedded(address: IPv6Address) -> list[IPv4Address]:
    """The IPv4 addresses that one leads to: mapped, compatible, 6to4, NAT64. No address of Teredo's is global."""
    last = IPv4Address(int(address) & 0xFFFF_FFFF)
    found = [address.ipv4_mapped, address.sixtofour]
    found += [last for network in (*NAT64, COMPATIBLE) if address in network]
    return [inner for inner in found if inner]
