"""Audio, pauses, discarded spans and continued sessions, as events at their place on the timeline."""

from typing import Any

import pytest

from audiohook.session.audiohook2_opening import MAX_CONTINUED_SESSIONS
from audiohook.session.audiohook2_table import State
from audiohook.session.events import (
    AdmissionAsked,
    AudioArrived,
    Continues,
    Counted,
    GapArrived,
    Noticed,
)
from tests.support.audiohook2 import (
    STEREO,
    Life,
    counts,
    frames_of,
    open_parameters,
)

# Media time


def test_audio_is_handed_on_whole() -> None:
    life = Life().admitted()
    life.events()
    for payload in (b"\x01\x02" * 800, b"\xff\x7f", b"", b"\x00\x01" * 32_768):
        life.audio(payload)
    assert life.events() == [
        AudioArrived(b"\x01\x02" * 800),
        AudioArrived(b"\xff\x7f"),
        AudioArrived(b"\x00\x01" * 32_768),
    ]
    assert life.session.media_time.position == 800 + 1 + 32_768


def test_a_broken_frame_is_cut_off_and_counted() -> None:
    life = Life().admitted()
    life.events()
    life.audio(b"\x01\x02\x03").audio(b"\x09")
    assert life.events() == [Counted("truncated_audio"), AudioArrived(b"\x01\x02"), Counted("truncated_audio")]
    assert life.session.media_time.position == 1
    life = Life().admitted(media=[{**STEREO, "format": "L16"}])
    life.events()
    life.audio(b"\x00" * 11)
    assert life.events() == [Counted("truncated_audio"), AudioArrived(b"\x00" * 8)]


def test_a_pause_is_a_gap_of_its_length() -> None:
    life = Life().admitted()
    life.events()
    life.audio(bytes(16_000)).say("paused", position="PT1S").say("paused")
    assert life.events()[1:] == [Noticed("paused")]
    assert life.session.state is State.PAUSED
    life.say("resumed", {"start": "PT1S", "discarded": "PT2.5S"})
    assert life.events() == [GapArrived(20_000, "paused"), Noticed("resumed")]
    life.say("ping", position="PT3.5S")
    assert life.events() == []


def test_audio_that_was_on_its_way_into_a_pause_is_kept() -> None:
    life = Life().admitted().say("paused")
    life.events()
    life.audio(b"\x01\x02" * 8)
    assert life.events() == [AudioArrived(b"\x01\x02" * 8)]
    assert life.session.state is State.PAUSED
    life.say("resumed", {"start": "PT0.001S", "discarded": "PT1S"})
    assert life.events() == [GapArrived(8000, "paused"), Noticed("resumed")]


def test_a_pause_of_nothing_is_no_gap() -> None:
    life = Life().admitted().say("paused")
    life.events()
    life.say("resumed", {"start": "PT0S", "discarded": "PT0S"})
    assert life.events() == [Noticed("resumed")]


def test_resumed_without_a_pause_is_a_gap() -> None:
    life = Life().admitted()
    life.events()
    life.say("resumed", {"start": "PT0S", "discarded": "PT1S"})
    assert life.events() == [GapArrived(8000, "paused")]


def test_discarded_within_a_pause() -> None:
    life = Life().admitted().say("paused")
    life.events()
    life.say("discarded", {"start": "PT0S", "discarded": "PT1S"}).say("resumed", {"start": "PT1S", "discarded": "PT1S"})
    assert life.events() == [GapArrived(8000, "discarded"), GapArrived(8000, "paused"), Noticed("resumed")]


def test_holes_and_overlaps() -> None:
    life = Life().admitted()
    life.events()
    life.audio(bytes(16_000)).say("discarded", {"start": "PT2S", "discarded": "PT1S"})
    life.say("discarded", {"start": "PT2S", "discarded": "PT0.5S"}).say(
        "discarded", {"start": "PT2S", "discarded": "PT2S"}
    )
    events = life.events()
    assert events[1:] == [
        GapArrived(16_000, "discarded"),
        Counted("overlaps"),
        Counted("overlaps"),
        GapArrived(8000, "discarded"),
    ]
    assert frames_of(events, 2) == life.session.media_time.end == 32_000


def test_the_peers_position_is_compared_and_not_believed() -> None:
    life = Life().admitted()
    life.events()
    life.audio(bytes(16_000))
    life.events()
    for position in ("PT1S", "PT1.000125S", "PT0.999875S"):
        life.say("ping", position=position)
    assert life.events() == []
    life.say("ping", position="PT1.00025S").say("update", position="PT7S")
    assert counts(life.events()) == {"position_differs": 2, "updates": 1}
    life.say("paused", position="PT1S")
    life.events()
    life.say("ping", position="PT5S")
    assert life.events() == [], "in a pause a peer's position may run on"
    assert life.session.media_time.position == 8000


def test_catching_up_is_no_matter() -> None:
    life = Life().admitted()
    life.events()
    for _ in range(30):
        life.audio(bytes(16_000))
    assert life.session.media_time.position == 240_000
    assert len(life.events()) == 30


# Continued sessions

OLD, OLDER = "11111111-2222-4333-8444-555555555555", "11111111-2222-4333-8444-000000000000"
CONTINUED = {
    "continuedSessions": [
        {"id": OLDER, "serverseq": 9, "clientseq": 9},
        {"id": OLD.upper(), "serverseq": 1, "clientseq": 1},
    ]
}


def test_what_a_session_continues_is_said_before_it_is_asked_for() -> None:
    life = Life().say("open", open_parameters(**CONTINUED), position="PT85S")
    continues, asked = life.events()
    assert continues == Continues((OLDER, OLD), 680_000)
    assert isinstance(asked, AdmissionAsked)


def test_the_overlap_is_asked_away() -> None:
    life = Life().admitted(800_000, "PT85S", **CONTINUED)
    (opened,) = life.sent()
    assert opened["parameters"]["discardTo"] == "PT100S"
    life.events()
    life.say("discarded", {"start": "PT85S", "discarded": "PT15S"}, position="PT100S").audio(b"\x01\x02")
    assert life.events() == [AudioArrived(b"\x01\x02")]
    assert (life.session.media_time.base, life.session.media_time.end) == (800_000, 800_001)


def test_a_peer_that_does_not_care_makes_no_overlap_either() -> None:
    life = Life().admitted(800_000, "PT99.999S", **CONTINUED)
    life.events()
    life.audio(b"\x01\x02" * 4).audio(b"\x01\x02" * 4 + b"\x03\x04" * 2)
    assert life.events() == [
        Counted("repeated_frames", 4),
        Counted("repeated_frames", 4),
        AudioArrived(b"\x03\x04" * 2),
    ]


def test_what_neither_session_had_is_lost() -> None:
    life = Life().admitted(800_000, "PT101S", **CONTINUED)
    assert "discardTo" not in life.sent()[0]["parameters"]
    assert life.events()[-1] == GapArrived(8000, "lost")


def test_an_earlier_session_that_nobody_knows() -> None:
    life = Life().admitted(None, "PT85S", **CONTINUED)
    assert "discardTo" not in life.sent()[0]["parameters"]
    assert life.session.media_time.base == 680_000


@pytest.mark.parametrize("entries", ["x", [5, {}, {"id": "x"}], []])
def test_continued_sessions_that_are_wrong_are_none(entries: Any) -> None:
    life = Life().open(continuedSessions=entries)
    assert not any(isinstance(event, Continues) for event in life.events())


def test_of_very_many_continued_sessions_the_newest_count() -> None:
    names = [f"{OLD[:-4]}{number:04}" for number in range(MAX_CONTINUED_SESSIONS + 8)]
    life = Life().open(continuedSessions=[{"id": name, "serverseq": 1, "clientseq": 1} for name in names])
    assert life.events()[0] == Continues(tuple(names[8:]), 0)


def test_a_retry_that_starts_later_says_so() -> None:
    life = Life().say("open", open_parameters(), position="PT2S")
    assert life.events()[0] == Continues((), 16_000)
