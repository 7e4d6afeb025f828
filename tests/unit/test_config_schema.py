"""Every key has a unit, a sentence and bounds, and the defaults are within them."""

import math

import msgspec
import pytest

from audiohook.config import Config, ContextPath, load
from audiohook.config.fields import PATH_FIELDS, SECTIONS, Field
from audiohook.config.schema import WORKER_ROWS
from audiohook.memory.layout import MAX_ROWS

FIELDS = [(section, field) for section, fields in SECTIONS.items() for field in fields.values()] + [
    ("context.paths", field) for field in PATH_FIELDS.values()
]
NUMBERS = [(section, field) for section, field in FIELDS if "number" in field.expected]
UNITS = {
    "none",
    "processes",
    "connections",
    "seconds",
    "generations",
    "streams",
    "events",
    "bytes",
    "headers",
    "Hz",
    "milliseconds",
    "clients",
    "days",
}

DEFAULTS = {
    "server": {
        "listen": ["127.0.0.1:8443"],
        "workers": 0,
        "backlog": 4096,
        "tcp_user_timeout_seconds": 30,
        "drain_seconds": 60,
        "orphan_seconds": 14400,
        "boot_seconds": 20,
        "overload_ms": 300,
        "hang_seconds": 10,
        "max_generations": 3,
        "generation_deadline_seconds": 14_400.0,
        "allow_anonymous": False,
        "allow": [],
        "trusted_proxies": [],
        "proxy_protocol": False,
    },
    "tls": {
        "certificate_file": "",
        "key_file": "",
        "minimum_version": "1.2",
        "client_ca_file": "",
        "require_client_certificate": False,
        "handshake_seconds": 5,
        "probe_seconds": 60,
        "probe_url": "",
        "probe_ca_file": "",
        "warn_days": 21,
    },
    "memory": {"streams": 256, "ring_seconds": 30, "keep_ended_seconds": 60, "events_per_worker": 1024},
    "http": {"max_request_bytes": 16384, "max_headers": 100, "request_seconds": 10},
    "admission": {
        "streams_per_host": 0,
        "streams_per_worker": 0,
        "streams_per_address": 0,
        "streams_per_organization": 0,
        "connections_per_address": 0,
        "waiting_per_worker": 1024,
    },
    "context": {
        "sample_rate": 16000,
        "framing": "message",
        "max_message_bytes": 1048576,
        "heartbeat_ms": 4000,
        "degraded_ms": 5000,
        "first_audio_ms": 10000,
        "reconnect_seconds": 15,
        "hold_ttl_seconds": 3600,
        "paths": {},
    },
    "audiohook2": {
        "channels": ["external,internal", "external", "internal"],
        "formats": ["PCMU", "L16"],
        "l16_byte_order": "little",
        "max_message_bytes": 65536,
        "start_paused": False,
        "supported_languages": [],
        "open_seconds": 10,
        "idle_seconds": 30,
        "paused_idle_seconds": 3600,
    },
    "auth": {
        "keys_file": "",
        "signature_age_seconds": 300,
        "signature_skew_seconds": 30,
        "secret_header": "x-audiohook-secret",
    },
    "hub": {"path": "", "read": [], "speak": [], "operate": [], "max_clients": 256, "max_watched": 64},
    "log": {"level": "info"},
}


def name(case: object) -> str:
    return case.name if isinstance(case, Field) else str(case)


def test_the_sections_keys_and_defaults_are_the_agreed_ones() -> None:
    assert msgspec.to_builtins(Config()) == DEFAULTS


@pytest.mark.parametrize(("section", "field"), FIELDS, ids=name)
def test_every_key_has_a_unit_and_one_sentence(section: str, field: Field) -> None:
    assert field.unit in UNITS
    for ending, unit in (("_seconds", "seconds"), ("_ms", "milliseconds"), ("_bytes", "bytes")):
        assert not field.name.endswith(ending) or field.unit == unit
    assert field.sentence[0].isupper()
    assert field.sentence.endswith(".")
    assert ". " not in field.sentence


@pytest.mark.parametrize(("section", "field"), NUMBERS, ids=name)
def test_every_number_has_two_bounds_that_hold(section: str, field: Field) -> None:
    low, high = (float(word) for word in field.expected.partition("from ")[2].split(" to "))
    assert isinstance(field.default, int | float)
    assert low <= field.default <= high
    whole = field.expected.startswith("a whole")
    for good in (low, high):
        assert msgspec.convert(int(good) if whole else good, field.annotation) == good
    for bad in (low - 1, high + 1, math.nan, math.inf, -math.inf):
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert(int(bad) if whole and math.isfinite(bad) else bad, field.annotation)


def test_a_path_has_its_own_values_or_those_of_the_section() -> None:
    config = load(
        None,
        [
            "context.framing=fixed:160",
            "context.sample_rate=8000",
            'context.paths={"/wide" = {sample_rate = 16000}, "/whole" = {framing = "message"}, "/same" = {}}',
        ],
    )
    assert config.context.paths["/same"] == ContextPath()
    assert config.context.at("/wide") == (16000, "fixed:160")
    assert config.context.at("/whole") == (8000, "message")
    assert config.context.at("/same") == (8000, "fixed:160")
    assert config.context.at("/wide/r") == (8000, "fixed:160")


def test_the_worker_table_has_the_rows_that_the_sentences_promise() -> None:
    assert WORKER_ROWS == MAX_ROWS


def test_a_config_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        load(None, []).log.level = "debug"  # type: ignore[misc]
