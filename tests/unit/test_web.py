"""web/ as files: nothing of anybody else's, nothing secret, nothing that a strict policy would stop."""

import re
import subprocess

from local.api import ROOT

WEB = ROOT / "web"
SOURCES = sorted(path for path in WEB.rglob("*") if path.suffix in (".js", ".html", ".css"))


def test_no_page_knows_a_service_key_or_another_server():
    for path in SOURCES:
        text = path.read_text()
        assert "SERVICE_ROLE_KEY" not in text, path
        assert "sb_secret_" not in text.replace("key.startsWith('sb_secret_')", ""), path
        for url in re.findall(r"https?://[^\s'\"`<)]+", text):
            assert url.startswith("http://www.w3.org") or "…" in url, (path, url)


def test_nothing_stands_in_a_page_that_the_policy_forbids():
    for path in SOURCES:
        text = path.read_text()
        assert not re.search(
            r"\bstyle=|\bon[a-z]+=\"|<script>|<style|javascript:|\beval\(|new Function|['\"(]data:", text
        ), path


def test_supabase_is_asked_in_one_place():
    for path in SOURCES:
        if path.name != "client.js" and path.suffix == ".js":
            assert not re.search(r"createClient|\bfetch\(|window\.supabase|XMLHttpRequest", path.read_text()), path


def test_the_readme_tells_of_every_page_and_table():
    text = (WEB / "README.md").read_text()
    for path in (WEB / "pages").glob("*.js"):
        assert f"`pages/{path.name}`" in text
    for path in SOURCES:
        for name in re.findall(r"\.(?:from|rpc)\('(\w+)'", path.read_text()):
            assert f"`{name}`" in text, (path, name)


def test_the_pages_for_another_server_are_complete(tmp_path):
    done = subprocess.run(
        [ROOT / "scripts" / "pages", tmp_path],
        env={"PATH": "/usr/bin:/bin", "SUPABASE_URL": "https://x.supabase.co", "SUPABASE_ANON_KEY": "sb_publishable_x"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert '"url": "https://x.supabase.co"' in (tmp_path / "config.js").read_text()
    for path in tmp_path.rglob("*.js"):
        if path.parent.name != "vendor":
            for wanted in re.findall(r"from '(\.[^']+)'", path.read_text()):
                assert (path.parent / wanted).exists(), (path, wanted)
