"""errors.py: the words that never change, held to where they are counted, written and sent."""

import re

import pytest

from audiohook import errors
from audiohook.errors import (
    CLOSURES,
    PEER_CLOSED,
    PEER_VANISHED,
    REFUSALS,
    WORKER_DIED,
    AmbiguousStream,
    AudiohookError,
    BootError,
    Closure,
    ConfigError,
    GapFound,
    HubUnavailable,
    NoSuchStream,
    Overrun,
    ReaderError,
    Refusal,
    WriterGone,
)
from audiohook.memory import layout
from audiohook.wire.request import refusal_bytes

ENDINGS = (PEER_CLOSED, PEER_VANISHED, WORKER_DIED)
SLUGS = [*(refusal.slug for refusal in REFUSALS), *(closure.slug for closure in CLOSURES), *ENDINGS]
NOTICES = ("degraded", "recovered", "no_audio", "text_ignored", "health_checks")


def test_every_slug_is_one_word_of_its_own() -> None:
    assert len(set(SLUGS)) == len(SLUGS)
    assert all(re.fullmatch(r"[a-z][a-z0-9_]*", slug) for slug in SLUGS)


@pytest.mark.parametrize("slug", [*SLUGS, *NOTICES])
def test_every_slug_has_a_counter(slug: str) -> None:
    """A worker counts by slug, without asking: one that is missing would end connections with a KeyError."""
    assert slug in layout.COUNTERS


@pytest.mark.parametrize("slug", [*(closure.slug for closure in CLOSURES), *ENDINGS])
def test_every_end_reason_fits_a_card(slug: str) -> None:
    assert len(slug) <= layout.CARD["end_reason"].itemsize


def test_the_lists_are_complete() -> None:
    named = [value for value in vars(errors).values() if isinstance(value, Refusal | Closure)]
    assert sorted(value.slug for value in named) == sorted(value.slug for value in (*REFUSALS, *CLOSURES))


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda refusal: refusal.slug)
def test_a_refusal_is_an_error_status_with_one_plain_line(refusal: Refusal) -> None:
    assert 400 <= refusal.status < 600
    assert refusal.text.isascii()
    assert refusal.text.isprintable()
    answer = refusal_bytes(refusal).decode("ascii")
    assert answer.startswith(f"HTTP/1.1 {refusal.status} ")
    assert answer.endswith(f"\r\n\r\n{refusal.text}\n")


def test_a_named_refusal_keeps_its_word_and_its_status() -> None:
    for refusal in REFUSALS:
        named = refusal.naming("x-header must be so")
        assert (named.slug, named.status) == (refusal.slug, refusal.status)
        assert named.text == f"{refusal.text}: x-header must be so"


@pytest.mark.parametrize("closure", CLOSURES, ids=lambda closure: closure.slug)
def test_a_closure_can_be_sent(closure: Closure) -> None:
    """RFC 6455 section 7.4.1: 1004 to 1006 and 1015 never appear in a frame; section 5.5: 125 bytes with the code."""
    assert closure.code is None or (1000 <= closure.code < 5000 and closure.code not in (1004, 1005, 1006, 1015))
    assert len(closure.text.encode()) <= 123


def test_values_cannot_be_changed_by_accident() -> None:
    for value, name in ((REFUSALS[0], "status"), (CLOSURES[0], "code")):
        with pytest.raises(AttributeError):
            setattr(value, name, 1)


def test_a_configuration_error_says_where_what_and_what_instead() -> None:
    error = ConfigError("a.toml", "server.workers", -1, "must be 0 or more")
    assert str(error) == "a.toml: server.workers = -1: must be 0 or more"
    assert (error.file, error.key, error.value, error.remedy) == ("a.toml", "server.workers", -1, "must be 0 or more")
    assert str(ConfigError("a.toml", "", None, "cannot be read")) == "a.toml: cannot be read"


def test_families() -> None:
    for kind in (ConfigError, BootError, ReaderError):
        assert issubclass(kind, AudiohookError)
    for kind in (HubUnavailable, NoSuchStream, AmbiguousStream, Overrun, GapFound, WriterGone):
        assert issubclass(kind, ReaderError)
    assert BootError.exit_code not in (0, 1, 2)


def test_what_readers_are_told_has_fields() -> None:
    overrun = Overrun(480, 9_600)
    assert (overrun.lost_frames, overrun.next_frame) == (480, 9_600)
    assert "480" in str(overrun)
    assert "9600" in str(overrun)
    assert "gone" in str(Overrun(3, None))
    gap = GapFound(100, 50, "paused")
    assert (gap.first_frame, gap.frames, gap.cause) == (100, 50, "paused")
    assert AmbiguousStream("two match", ("a", "b")).stream_ids == ("a", "b")
