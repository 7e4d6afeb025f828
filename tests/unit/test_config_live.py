"""config/live.py: which differences can be changed in place, and that who looks at the page sees what was written."""

import logging
import os
from typing import Any

import msgspec
import pytest

from audiohook.config import Admission, Config, Log
from audiohook.config.live import LIVE_KEYS, LiveSettings, live_changes, with_changes

CAPS = Admission(
    streams_per_host=1,
    streams_per_worker=2,
    streams_per_address=3,
    streams_per_organization=4,
    connections_per_address=1_048_576,
    waiting_per_worker=16,
)


def other(value: Any) -> Any:
    """Return a value of the same kind that is another one."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1
    return [*value, "x"] if isinstance(value, list) else {**value, "x": 1} if isinstance(value, dict) else value + "x"


@pytest.mark.parametrize("section", Config.__struct_fields__)
def test_every_key_is_live_or_a_new_generation_s(section: str) -> None:
    """Of a key that nobody decided about, workers would never hear."""
    before = Config()
    part = getattr(before, section)
    for name in part.__struct_fields__:
        key, old = f"{section}.{name}", getattr(part, name)
        new = "debug" if key == "log.level" else other(old)
        after = msgspec.structs.replace(before, **{section: msgspec.structs.replace(part, **{name: new})})
        live = section == "admission" or key == "log.level"
        assert live_changes(before, after) == ({key: (old, new)} if live else {})
        assert live is (key in LIVE_KEYS)


def test_nothing_and_more_than_that() -> None:
    before = Config()
    assert live_changes(before, Config()) == {}
    after = Config(admission=CAPS, log=Log(level="debug"))
    assert live_changes(before, after).keys() == LIVE_KEYS
    more = msgspec.structs.replace(after, http=msgspec.structs.replace(after.http, max_headers=11))
    assert live_changes(before, more) == {}


def test_what_differs_makes_of_the_one_configuration_the_other() -> None:
    """Over the pipe of a trial it goes as JSON."""
    before, after = Config(), Config(admission=CAPS, log=Log(level="error"))
    sent = msgspec.json.decode(msgspec.json.encode(live_changes(before, after)))
    assert with_changes(before, sent) == after
    with pytest.raises(msgspec.ValidationError, match=r"log\.level"):
        with_changes(before, {"log.level": ("info", "loud")})


def test_who_looks_sees_what_was_written_last() -> None:
    before = Config(admission=CAPS, log=Log(level="warning"))
    page = LiveSettings.made_of(before)
    look = LiveSettings(page.fd, writable=False)
    os.close(page.fd)
    assert (look.admission(), look.log_level) == (CAPS, logging.WARNING)
    page.write(Config(log=Log(level="debug")))
    assert (look.admission(), look.log_level) == (Admission(), logging.DEBUG)
    with pytest.raises(TypeError, match="read-only"):
        look.write(before)
