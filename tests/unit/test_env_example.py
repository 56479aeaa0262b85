"""`.env.example` is the settings' manual, so it must not fall behind them."""

import re
from pathlib import Path

import pytest

from worker import config
from worker.errors import ConfigError

EXAMPLE = Path(__file__).parents[2] / ".env.example"
LINE = re.compile(r"^(?:# )?([A-Z][A-Z_]+)=(.*)$", re.M)
REAL = {"SUPABASE_URL": "https://project.supabase.co", "SUPABASE_SERVICE_ROLE_KEY": "sb_secret_x", "GATEWAY": "mock"}


def test_it_explains_every_setting_and_no_other():
    named = [name for name, _ in LINE.findall(EXAMPLE.read_text())]

    assert sorted(named) == sorted(name.upper() for name in config.Settings.model_fields)


def test_the_defaults_that_it_shows_are_the_defaults():
    shown = dict(LINE.findall(EXAMPLE.read_text())) | REAL

    assert config.load(shown, dotenv=None) == config.load(REAL, dotenv=None)


def test_a_copy_that_nobody_filled_in_is_refused_rather_than_taken_for_development(tmp_path):
    copy = tmp_path / ".env"
    copy.write_text(EXAMPLE.read_text().replace("SUPABASE_URL=", "SUPABASE_URL=https://project.supabase.co"))

    with pytest.raises(ConfigError) as refusal:
        config.load({}, dotenv=copy)

    assert "GATEWAY: name one of" in str(refusal.value)
    assert "SUPABASE_SERVICE_ROLE_KEY: is missing" in str(refusal.value)
