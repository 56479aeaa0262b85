"""The environment as people write it: read where it is clear what was meant, else refused in one line of advice."""

import base64
import json

import pytest

from worker import config
from worker.errors import ConfigError

REAL = {"SUPABASE_URL": "https://abcd.supabase.co", "SUPABASE_SERVICE_ROLE_KEY": "sb_secret_x", "GATEWAY": "mock"}


def jwt(role):
    payload = base64.urlsafe_b64encode(json.dumps({"role": role}).encode()).decode().rstrip("=")
    return f"eyJhbGciOiJIUzI1NiJ9.{payload}.signature"


def load(**changes):
    return config.load({**REAL, **changes}, dotenv=None)


def refusal(**changes):
    """The faults, a line each."""
    with pytest.raises(ConfigError) as refused:
        load(**changes)
    return str(refused.value).splitlines()[1:]


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("https://abcd.supabase.co/", "https://abcd.supabase.co"),
        ("https://abcd.supabase.co\r", "https://abcd.supabase.co"),
        (" https://abcd.supabase.co\n", "https://abcd.supabase.co"),
        ("HTTPS://abcd.supabase.co", "https://abcd.supabase.co"),
        ("HTTP://127.0.0.1:54321//", "http://127.0.0.1:54321"),
        ("https://example.com/supabase/", "https://example.com/supabase"),
        ("http://[::1]:54321", "http://[::1]:54321"),
        ('"https://abcd.supabase.co"', "https://abcd.supabase.co"),  # `docker run --env-file` keeps the quotes
        ("'https://abcd.supabase.co/' ", "https://abcd.supabase.co"),
    ],
)
def test_an_address_is_read_as_it_was_meant(written, meant):
    assert load(SUPABASE_URL=written).supabase_url == meant


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("https://abcd.supabase.co/rest/v1", "leave /rest/v1 away"),
        ("https://abcd.supabase.co/rest/v1/", "leave /rest/v1 away"),
        ("https://abcd.supabase.co/auth/v1", "leave /auth/v1 away"),
        ("https://supabase.com/dashboard/project/abcd/settings/api", "the project's is https://abcd.supabase.co"),
        ("abcd.supabase.co", "must be an address that starts with http"),
        ("postgresql://postgres@db.abcd.supabase.co:5432/postgres", "must be an address that starts with http"),
        ("https://abcd.supabase.co?apikey=sb_secret_x", "without ? or #"),
        ("https://ab cd.supabase.co", "must be an address"),
        ("https://abcd.supabase.co:port", "must be an address"),
        ("https://[abcd", "must be an address"),
        ("https://abcd.\nsupabase.co", "line end"),
    ],
)
def test_an_address_that_is_none_is_refused_in_one_line(written, words):
    [line] = refusal(SUPABASE_URL=written)

    assert line.startswith("  - SUPABASE_URL: ")
    assert words in line
    assert "sb_secret" not in line


@pytest.mark.parametrize("end", ["\n", "\r\n", " ", "\t"])
def test_a_key_with_a_line_end_behind_it_is_the_key(end):
    assert load(SUPABASE_SERVICE_ROLE_KEY=f"sb_secret_x{end}").supabase_service_role_key == "sb_secret_x"


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("sb_secret\n_x", "line end"),
        ("sb_secret\u200b_x", "invisible"),
        ("sb_secret_\u201cx\u201d", "no key has"),
        ("sb_publishable_x", "public (anon) key"),
        (jwt("anon"), "public (anon) key"),
    ],
)
def test_a_key_that_cannot_be_one_is_refused_without_being_shown(key, words):
    [line] = refusal(SUPABASE_SERVICE_ROLE_KEY=key)

    assert words in line
    assert key not in line


@pytest.mark.parametrize("key", [jwt("service_role"), jwt("messages_daemon"), jwt(None), "a.b.c", "x", "sb_secret_.x"])
def test_other_keys_are_the_servers_to_judge(key):
    assert load(SUPABASE_SERVICE_ROLE_KEY=key).supabase_service_role_key == key


@pytest.mark.parametrize("name", ["WAHA_API_KEY", "EVOLUTION_API_KEY", "WPPCONNECT_TOKEN", "WHATSAPP_ACCESS_TOKEN"])
def test_every_key_is_looked_at(name):
    [line] = refusal(**{name: "abc\x00def"})

    assert name in line


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_file_of_a_windows_editor_is_read(tmp_path, encoding, end):
    file = tmp_path / ".env"
    file.write_bytes(end.join(f"{name}={value}" for name, value in REAL.items()).encode(encoding))

    assert config.load({}, dotenv=file) == load()


@pytest.mark.parametrize("content", ["SUPABASE_URL=https://a.co".encode("utf-16"), "# caf\u00e9".encode("latin-1")])
def test_a_file_in_another_encoding_is_refused_in_one_line(tmp_path, content):
    file = tmp_path / ".env"
    file.write_bytes(content)

    with pytest.raises(ConfigError, match="not UTF-8 text: save it anew"):
        config.load(REAL, dotenv=file)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_a_mounted_secret_is_read_without_its_line_end_and_byte_order_mark(tmp_path, encoding):
    secret = tmp_path / "key"
    secret.write_bytes("sb_secret_x\r\n".encode(encoding))

    assert load(SUPABASE_SERVICE_ROLE_KEY="", SUPABASE_SERVICE_ROLE_KEY_FILE=str(secret)) == load()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("NO_PROXY", "localhost,[::1]"),
        ("NO_PROXY", "fd00::/8"),
        ("ALL_PROXY", "socks5://127.0.0.1:1080"),
        ("HTTPS_PROXY", "127.0.0.1:abc"),
    ],
)
def test_a_proxy_that_the_client_cannot_use_is_refused_in_one_line(monkeypatch, name, value):
    monkeypatch.setenv(name, value)

    [line] = refusal()

    assert "ALL_PROXY, NO_PROXY" in line
    assert "unset it for this daemon" in line


def test_a_proxy_that_it_can_use_is_used(monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    monkeypatch.setenv("NO_PROXY", "localhost,127.0.0.1,.internal")

    assert load().gateway == "mock"


@pytest.mark.parametrize(
    "written", ["Bearer sb_secret_x", "bearer  sb_secret_x", '"sb_secret_x"', "'Bearer sb_secret_x'"]
)
def test_a_key_copied_out_of_a_header_or_a_string_is_the_key(written):
    assert load(SUPABASE_SERVICE_ROLE_KEY=written).supabase_service_role_key == "sb_secret_x"
    assert "public" in refusal(SUPABASE_SERVICE_ROLE_KEY=written.replace("sb_secret_x", jwt("anon")))[0]


def test_words_are_read_in_any_case():
    settings = load(GATEWAY="WAHA", WAHA_URL="http://waha:3000", REALTIME="Off", LOG_LEVEL="INFO")
    assert (settings.gateway, settings.realtime, settings.log_level) == ("waha", "off", "info")


def test_the_environment_wins_over_the_file_and_the_file_holds_where_it_says_nothing(tmp_path):
    file = tmp_path / ".env"
    file.write_text("CONCURRENCY=3\nBATCH_SIZE=7\n")
    settings = config.load({**REAL, "CONCURRENCY": "5"}, dotenv=file)
    assert (settings.concurrency, settings.batch_size) == (5, 7)


@pytest.mark.parametrize(("written", "read"), [("IN", "IN"), ("in", "IN"), ("", None)])
def test_a_country_is_read_in_any_case(written, read):
    assert load(DEFAULT_COUNTRY_CODE=written).default_country_code == read


@pytest.mark.parametrize("written", ["India", "I", "XX"])
def test_a_country_that_is_none_is_refused(written):
    [line] = refusal(DEFAULT_COUNTRY_CODE=written)
    assert line == "  - DEFAULT_COUNTRY_CODE: must be a two-letter country code such as IN"


def test_an_empty_name_of_a_file_names_none():
    assert load(WAHA_API_KEY="secret", WAHA_API_KEY_FILE="").waha_api_key == "secret"


def test_a_file_that_is_named_holds_rather_than_what_stands_beside_it(tmp_path):
    (tmp_path / "key").write_text("from the file")
    settings = load(WAHA_API_KEY="old", WAHA_API_KEY_FILE=str(tmp_path / "key"))
    assert settings.waha_api_key == "from the file"


def test_a_message_has_three_tries_a_minute_apart_where_nobody_says_otherwise():
    assert (load().retry_attempts, load().retry_delay_seconds) == (3, 60)
