"""Which links may be passed on, and what is passed on: one reading, the fetcher's."""

import asyncio
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.errors import BadMessage
from worker.planning import resolver
from worker.planning.links import Links, checked, host_of, is_inside
from worker.planning.resolver import Resolver

FETCHING = Links(we_fetch=True)


@pytest.mark.parametrize(
    "url",
    [
        "http://e.com/a.png", "ftp://e.com/a.png", "file:///etc/passwd", "/uploads/a.png",
        "e.com/a.png",
        "data:image/png;base64,AAAA", "https://", "https:///a.png", "https://[::1/a.png", "https:e.com/a",
        "https:/e.com",
        "https://user:pass@e.com/a.png", "https://token@e.com/a.png", "https://@e.com/a", "https://:@e.com/a",
        "https://e.com:port/a.png", "https://e.com:65536/", "https://e.com\\@127.0.0.1/",
        "https:\\\\e.com\\a",
        "https://e.com/a b.png", "https://e.com/\x00", "https://e.com/\ta", "https://e\n.com/",
        "https://e.com/\u2028",
        f"https://e.com/{'a' * 2048}", "https://xn--a/x", "https://1.2.3.4.5/",
        "https://256.1.1.1/", "https://a b.com/",
        "https://e.com<script>/", "https://[fe80::1%25eth0]/a", "https://[1.2.3.4]/", "https://%00.com/",
        "javascript://e",
    ],
)  # fmt: skip
def test_an_address_that_must_not_be_passed_on_is_refused(url: str) -> None:
    with pytest.raises(BadMessage, match="address") as refused:
        checked(url, Links())
    assert "pass@" not in str(refused.value)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("https://e.com/a.png", "https://e.com/a.png"),
        ("HTTPS://E.com/a.PNG", "https://e.com/a.PNG"),
        ("https://e.com/o/Bericht%20M%C3%A4rz.pdf?token=a%2Fb%3D&x=1", "https://e.com/o/Bericht%20M%C3%A4rz.pdf?token=a%2Fb%3D&x=1"),
        ("https://e.com/März.pdf", "https://e.com/M%C3%A4rz.pdf"),
        ("https://bücher.example/a", "https://xn--bcher-kva.example/a"),
        ("https://e。com/a", "https://e.com/a"),
        ("https://ｅ.ｃｏｍ/a", "https://e.com/a"),
        ("https://e.com:443/a", "https://e.com/a"),
        ("https://e.com:8443/a#b", "https://e.com:8443/a#b"),
        ("https://e.com/@name/a?b=@c", "https://e.com/@name/a?b=@c"),
    ],
)  # fmt: skip
def test_what_is_passed_on_is_what_was_judged(written: str, read: str) -> None:
    assert checked(written, FETCHING) == read
    assert checked(read, FETCHING) == read


def test_plain_http_passes_where_a_setting_allows_it() -> None:
    assert checked("http://e.com/a.png", Links(allow_http=True)) == "http://e.com/a.png"


INSIDE = [
    # names of one network
    "localhost", "LOCALHOST.", "x.localhost", "db.internal", "printer.local", "nas.lan", "a.home.arpa",
    "x.localdomain",
    "router", "minio", "kong.", "wiki.corp", "ⓛⓞⓒⓐⓛⓗⓞⓢⓣ", "loc\u00adalhost", "ｌｏｃａｌｈｏｓｔ", "%6c%6fcalhost",
    "local%68ost",
    # IPv4 in every spelling
    "127.0.0.1", "127.0.0.1.", "127.1", "2130706433", "0x7f.1", "0x7F000001", "0177.0.0.1", "017700000001", "0",
    "0.0.0.0",
    "10.0.0.5", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "224.0.0.1", "255.255.255.255",
    "192.0.2.1", "198.18.0.1", "240.0.0.1",
    "１２７.0.0.1", "127．0．0．1", "127。0。0。1", "127｡0｡0｡1", "①②⑦.⓪.⓪.①", "¹²⁷.0.0.1", "𝟏𝟐𝟕.0.0.1",
    "%31%32%37.0.0.1",
    "0ｘ7f.1",
    "127.0.0.1%2e", "%EF%BC%91%EF%BC%92%EF%BC%97.0.0.1",
    # IPv6, and IPv4 in it: mapped, compatible, 6to4, Teredo, NAT64
    "[::1]", "[::]", "[0:0:0:0:0:0:0:1]", "[fe80::1]", "[fd00::1]", "[fc00::1]", "[fec0::1]", "[ff02::1]",
    "[2001:db8::1]",
    "[::ffff:10.0.0.1]", "[::ffff:7f00:1]", "[::127.0.0.1]", "[2002:7f00:1::]", "[2002:a00:1::1]",
    "[2001:0:4136:e378:8000:63bf:80ff:fffe]", "[2001:0:808:808:0:0:f7f7:f7f7]",
    "[64:ff9b::127.0.0.1]", "[64:ff9b::a00:1]",
    "[64:ff9b:1::a00:1]",
    "[::ffff:0:0]",
]  # fmt: skip


@pytest.mark.parametrize("host", INSIDE)
def test_a_link_into_our_own_network_is_refused_where_it_is_fetched_from_there(host: str) -> None:
    for ending in ("", ":8443"):
        with pytest.raises(BadMessage, match="private network"):
            checked(f"https://{host}{ending}/a.png", FETCHING)


def test_what_whatsapp_fetches_for_itself_may_be_any_address() -> None:
    assert checked("https://127.0.0.1/a.png", Links()) == "https://127.0.0.1/a.png"


@pytest.mark.parametrize(
    "host",
    [
        "8.8.8.8", "e.com", "[2606:4700::1111]", "locals.com", "mylocalhost.com", "local.example.com",
        "[2002:808:808::]",
        "[64:ff9b::808:808]", "[::ffff:8.8.8.8]", "1e100.net", "10.example.com", "e_x.com",
    ],
)  # fmt: skip
def test_addresses_of_the_open_internet_pass(host: str) -> None:
    assert not is_inside(host)
    assert checked(f"https://{host}/a.png", FETCHING)


@pytest.mark.parametrize("host", ["minio", "10.0.0.5", "files.internal", "[fd00::5]"])
def test_a_host_that_the_operator_names_may_be_inside(host: str) -> None:
    links = Links(we_fetch=True, allow_http=True, trusted=frozenset({host}))
    assert checked(f"http://{host}:9000/a.png", links)
    with pytest.raises(BadMessage, match="TRUSTED_MEDIA_HOSTS"):
        checked("http://other:9000/a.png", links)


@given(st.text(max_size=40), st.sampled_from(["https://", "https://127.0.0.1", "https://a@", "http://", ""]))
def test_whatever_is_written_is_refused_or_read_once_and_for_all(text: str, start: str) -> None:
    with suppress(BadMessage):
        read = checked(start + text, FETCHING)
        assert checked(read, FETCHING) == read
        assert not is_inside(host_of(read))


class Names:
    """A made-up name service; what it does not know it refuses as the system's does."""

    def __init__(self, **known: list[str]) -> None:
        self.known, self.asked, self.now = known, list[str](), 0.0
        self.resolver = Resolver(self.look_up, lambda: self.now)

    async def look_up(self, host: str) -> list[str]:
        self.asked.append(host)
        if host == "slow.example":
            await asyncio.Event().wait()
        if host not in self.known:
            raise OSError("Name or service not known")
        return self.known[host]


@pytest.mark.parametrize(
    "addresses", [["127.0.0.1"], ["93.184.216.34", "10.0.0.1"], ["::1"], ["fe80::1%eth0"], ["::ffff:a00:1"]]
)
async def test_a_name_that_leads_inside_is_refused(addresses: list[str]) -> None:
    names = Names(**{"innocent.example": addresses})
    with pytest.raises(BadMessage, match="private network"):
        await names.resolver.refuse_inside(["https://e.com/a", "https://innocent.example/a"], FETCHING)


async def test_a_name_that_leads_outside_or_nowhere_passes_and_is_asked_once_a_minute() -> None:
    names = Names(**{"files.example": ["93.184.216.34"]})
    urls = ["https://files.example/a", "https://files.example/b", "https://unknown.example/a"]
    for names.now in (0.0, 59.0, 60.0):
        await names.resolver.refuse_inside(urls, FETCHING)
    assert sorted(names.asked) == ["files.example"] * 2 + ["unknown.example"] * 2


async def test_a_name_service_that_does_not_answer_is_waited_for_only_so_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolver, "PATIENCE_SECONDS", 0.01)
    names = Names()
    for _ in range(2):
        await names.resolver.refuse_inside(["https://slow.example/a"], FETCHING)
    assert names.asked == ["slow.example"]


async def test_a_trusted_host_is_not_looked_up() -> None:
    names = Names(minio=["10.0.0.5"])
    await names.resolver.refuse_inside(["http://minio:9000/a"], Links(we_fetch=True, trusted=frozenset({"minio"})))
    assert names.asked == []


async def test_the_systems_resolver_is_asked() -> None:
    with pytest.raises(BadMessage, match="private network"):
        await Resolver().refuse_inside(["https://localhost/a"], FETCHING)


async def test_what_is_remembered_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolver, "MOST", 2)
    names = Names()
    for host in ("a.example", "b.example", "c.example", "c.example", "a.example"):
        await names.resolver.refuse_inside([f"https://{host}/"], FETCHING)
    assert names.asked == ["a.example", "b.example", "c.example", "a.example"]
