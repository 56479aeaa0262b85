"""What the environment says, read once, refused as a whole when anything in it is wrong."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import urlsplit

import httpx
from dotenv import dotenv_values
from phonenumbers import SUPPORTED_REGIONS
from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from worker.errors import BadTimezone, ConfigError
from worker.kinds import DEFAULT, DEVELOPMENT, KINDS
from worker.recurrence import series as recurrence
from worker.text import addresses


class Settings(BaseSettings):
    """One attribute per variable of `.env.example`, which explains them. Seconds unless the name says otherwise."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    supabase_url: str
    supabase_service_role_key: str = Field(repr=False)

    poll_interval_seconds: float = Field(60, ge=1, le=3600)
    batch_size: int = Field(500, ge=1, le=1000)
    concurrency: int = Field(20, ge=1, le=1000)
    lease_seconds: float = Field(60, ge=5, le=3600)
    drain_seconds: float = Field(20, ge=0, le=600)
    realtime: Literal["auto", "off"] = "auto"
    # Validated: that reads the list of zones, while there are descriptors to read it with.
    default_timezone: str = Field("UTC", validate_default=True)
    default_country_code: str | None = None
    max_lateness_seconds: float = Field(0, ge=0, le=10 * 366 * 86400)
    retry_attempts: int = Field(3, ge=1, le=20)
    retry_delay_seconds: float = Field(60, ge=0, le=86400)
    allow_http_media: bool = False
    trusted_media_hosts: str = ""
    link_previews: bool = False

    gateway: str | None = None
    mock_failure_rate: float = Field(0, ge=0, le=1)
    mock_delay_ms: float = Field(0, ge=0, le=3_600_000)
    whatsapp_phone_number_id: str | None = None
    whatsapp_access_token: str | None = Field(None, repr=False)
    whatsapp_business_account_id: str | None = None
    whatsapp_api_base: str = "https://graph.facebook.com/v25.0"
    whatsapp_app_secret: str | None = Field(None, repr=False)
    whatsapp_verify_token: str | None = Field(None, repr=False)
    waha_url: str | None = None
    waha_api_key: str | None = Field(None, repr=False)
    waha_check_numbers: bool = True
    evolution_url: str | None = None
    evolution_api_key: str | None = Field(None, repr=False)
    wppconnect_url: str | None = None
    wppconnect_token: str | None = Field(None, repr=False)
    wppconnect_secret_key: str | None = Field(None, repr=False)
    redis_url: str | None = Field(None, repr=False)
    bullmq_queue: str = "broadcast"
    bullmq_prefix: str = "bull"
    bullmq_job: str = "broadcast"
    handover_seconds: float = Field(600, ge=10, le=86400)

    http_host: str = "127.0.0.1"
    http_port: int = Field(0, ge=0, le=65535)
    http_token: str | None = Field(None, repr=False)
    http_origins: str = ""
    export_dir: str | None = None
    process_number: int = Field(0, ge=0, le=999)
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003
        init_settings: PydanticBaseSettingsSource,
        *_: PydanticBaseSettingsSource,
        **__: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings,)  # `load` has merged the sources already

    @field_validator("gateway", "realtime", "log_level", mode="before")
    @classmethod
    def is_word_in_any_case(cls, value: Any) -> Any:
        return value.lower() if isinstance(value, str) else value

    @field_validator("gateway")
    @classmethod
    def is_known_gateway(cls, value: str | None) -> str | None:
        if value is not None and value not in KINDS:
            raise ValueError(f"must be one of {', '.join(KINDS)}")
        return value

    @field_validator("supabase_url", "waha_url", "evolution_url", "wppconnect_url", "whatsapp_api_base")
    @classmethod
    def is_web_address(cls, value: str | None) -> str | None:
        return None if value is None else addresses.base(value)

    @field_validator("supabase_url")
    @classmethod
    def is_a_projects_address(cls, value: str) -> str:
        return addresses.project(value)

    @field_validator("supabase_service_role_key")
    @classmethod
    def is_no_public_key(cls, value: str) -> str:
        value = re.sub(r"^bearer\s+", "", value, flags=re.IGNORECASE)  # as it stands in a header
        if addresses.is_public_key(value):
            raise ValueError(
                "is the public (anon) key, which sees no messages: give the service_role or sb_secret_ key"
            )
        return value

    @field_validator("default_timezone")
    @classmethod
    def is_timezone(cls, value: str) -> str:
        try:
            return recurrence.timezone(value).key
        except BadTimezone as e:
            raise ValueError(str(e)) from e

    @field_validator("default_country_code")
    @classmethod
    def is_country(cls, value: str | None) -> str | None:
        if value is not None and value.upper() not in SUPPORTED_REGIONS:
            raise ValueError("must be a two-letter country code such as IN")
        return value and value.upper()

    @model_validator(mode="after")
    def gateway_is_complete(self) -> Self:
        if missing := missing_for(self.gateway or DEVELOPMENT, self):
            raise ValueError(f"GATEWAY={self.gateway} also needs {', '.join(missing)}")
        return self


def missing_for(gateway: str, settings: Settings) -> list[str]:
    """The variables that this gateway needs and that are not set."""
    needed = [names.split("|") for names in KINDS[gateway].needs]
    return [" or ".join(map(str.upper, names)) for names in needed if not any(getattr(settings, n) for n in names)]


def load(environ: Mapping[str, str] | None = None, dotenv: str | Path | None = ".env") -> Settings:
    """The settings from `.env` and the process environment, which wins. Raises ConfigError naming every fault."""
    file, faults = _read(dotenv) if dotenv else ({}, [])
    raw = {**file, **(os.environ if environ is None else environ)}
    values, unread = _with_files({k.lower(): _bare(v) for k, v in raw.items() if v is not None})
    known: dict[str, Any] = {name: values[name] for name in Settings.model_fields if values.get(name)}
    faults += unread + [fault for name, value in known.items() if (fault := _unprintable(name, value))]
    faults += [fault] if (fault := _proxy_fault()) else []
    if "gateway" not in known:
        name, fault = _choose_gateway(values)
        faults += [fault] if fault else []
        known |= {"gateway": name} if name else {}
    try:
        settings = Settings(**known)
    except ValidationError as e:
        faults += [_explain(error) for error in e.errors()]
    if faults:
        raise ConfigError("The configuration is not usable:\n" + "\n".join(f"  - {fault}" for fault in faults))
    return settings


def _read(dotenv: str | Path) -> tuple[dict[str, str | None], list[str]]:
    """What stands in the file; a byte order mark and the line ends of Windows do no harm."""
    try:
        return dotenv_values(dotenv, encoding="utf-8-sig"), []
    except (OSError, UnicodeDecodeError) as e:
        why = "cannot be read" if isinstance(e, OSError) else "is not UTF-8 text: save it anew with that encoding"
        return {}, [f"{dotenv}: the file {why}"]


def _bare(value: str) -> str:
    """Without the quotes that a shell or .env takes away, and `docker run --env-file` does not."""
    value = value.strip()
    return value[1:-1].strip() if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'" else value


def _unprintable(name: str, value: str) -> str | None:
    """Keys and addresses go into HTTP headers, which hold neither line ends nor letters beyond ASCII."""
    if not value.isprintable():
        return f"{name.upper()}: holds a line end or another invisible character: write it on one line"
    if name.endswith(("_key", "_token", "_id")) and not value.isascii():
        return f"{name.upper()}: holds a character that no key has: copy it anew"
    return None


def _proxy_fault() -> str | None:
    """The HTTP client refuses some of what other programs take; found out here, said once."""
    try:
        httpx.Client(verify=False).close()  # noqa: S501  it connects to nothing
    except (ImportError, ValueError, httpx.InvalidURL) as e:
        return (
            f"HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY: the HTTP client cannot use one of them ({e}): mend it,"
            " or unset it for this daemon (in NO_PROXY, IPv6 addresses and networks are not understood)"
        )
    return None


def _with_files(values: dict[str, str]) -> tuple[dict[str, str], list[str]]:
    """Reads NAME_FILE where a field NAME exists, so that secrets can come from mounted files."""
    merged, faults = dict(values), []
    for name in Settings.model_fields:
        if path := values.get(f"{name}_file"):
            try:
                merged[name] = _bare(Path(path).read_text(encoding="utf-8-sig"))
            except (OSError, UnicodeDecodeError):
                faults.append(f"{name.upper()}_FILE: the file cannot be read")
    return merged, faults


def _choose_gateway(values: Mapping[str, str]) -> tuple[str | None, str | None]:
    """The gateway where none is named. A mock marks real reminders as sent, so it must be meant."""
    credentials = [values.get(name) for name in KINDS[DEFAULT].needs]
    if all(credentials):
        return DEFAULT, None
    development = all(value == "" for value in credentials)
    if development or urlsplit(values.get("supabase_url", "")).hostname in ("127.0.0.1", "localhost", "::1"):
        return DEVELOPMENT, None
    return None, f"GATEWAY: name one of {', '.join(KINDS)} ({DEVELOPMENT} only marks rows as sent)"


def _explain(error: Mapping[str, object]) -> str:
    location = error.get("loc") or ()
    name = ".".join(str(part) for part in location).upper() if isinstance(location, tuple) else ""
    text = "is missing" if error.get("type") == "missing" else str(error.get("msg", "")).removeprefix("Value error, ")
    return f"{name}: {text}" if name else text
