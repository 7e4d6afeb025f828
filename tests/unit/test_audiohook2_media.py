"""Which offer is taken: by preference, verbatim, and never because of what stands beside it."""

import json
from itertools import permutations
from typing import Any

import pytest
from msgspec import Raw

from audiohook.session.audiohook2_media import CHANNELS, FORMATS, choose
from audiohook.session.events import Media

BOTH, OUTER, INNER = ["external", "internal"], ["external"], ["internal"]


def entry(channels: Any = BOTH, media_format: Any = "PCMU", **changed: Any) -> bytes:
    fields = {"type": "audio", "format": media_format, "channels": channels, "rate": 8000, **changed}
    return json.dumps({name: value for name, value in fields.items() if value is not None}).encode()


def chosen(*offers: bytes, channels: tuple[str, ...] = CHANNELS, formats: tuple[str, ...] = FORMATS) -> bytes | None:
    choice = choose([Raw(offer) for offer in offers], channels, formats)
    return bytes(choice.offer) if choice else None


def test_production_offers_in_any_order() -> None:
    offers = (entry(BOTH), entry(OUTER), entry(INNER))
    for order in permutations(offers):
        assert chosen(*order) == entry(BOTH)


@pytest.mark.parametrize(
    ("channels", "formats", "expected"),
    [
        (("external",), ("PCMU", "L16"), entry(OUTER)),
        (("internal", "external"), ("PCMU", "L16"), entry(INNER)),
        (("external,internal",), ("L16", "PCMU"), entry(BOTH, "L16")),
        (("external",), ("L16",), None),
        ((), ("PCMU",), None),
        (("external,internal",), (), None),
    ],
)
def test_preferences_decide(channels: tuple[str, ...], formats: tuple[str, ...], expected: bytes | None) -> None:
    offers = (entry(INNER), entry(BOTH), entry(OUTER), entry(BOTH, "L16"))
    assert chosen(*offers, channels=channels, formats=formats) == expected


def test_channels_rank_before_formats() -> None:
    assert chosen(entry(OUTER, "PCMU"), entry(BOTH, "L16")) == entry(BOTH, "L16")


def test_the_order_of_channels_is_the_peers() -> None:
    choice = choose([Raw(entry(["internal", "external"], "L16"))], CHANNELS, FORMATS)
    assert choice is not None
    assert choice.media == Media("l16", 8000, ("internal", "external"), "message")
    assert choice.frame_bytes == 4


@pytest.mark.parametrize(
    ("channels", "media_format", "frame_bytes"), [(BOTH, "PCMU", 2), (OUTER, "PCMU", 1), (OUTER, "L16", 2)]
)
def test_frame_sizes(channels: list[str], media_format: str, frame_bytes: int) -> None:
    choice = choose([Raw(entry(channels, media_format))], CHANNELS, FORMATS)
    assert choice is not None
    assert choice.frame_bytes == frame_bytes


def test_the_offer_comes_back_byte_for_byte() -> None:
    odd = b'{ "rate":8000,"news":[1, 2],  "channels":["ext\\u0065rnal"],\n"format":"PCMU","type":"audio"}'
    assert chosen(odd) == odd


WRONG = [
    *(b"null", b"5", b'"audio"', b"[]", b"{}"),
    *(entry(type=value) for value in (None, "video", 1)),
    *(entry(media_format=value) for value in (None, "opus", "pcmu", 1)),
    *(entry(rate=value) for value in (None, 16_000, "8000", 8000.5)),
    *(entry(channels) for channels in (None, [], "external", ["external"] * 2, ["external", "x"], [*BOTH, "external"])),
    entry(news="x" * 1000),
]


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: wrong[:60].decode())
def test_a_wrong_entry_is_passed_over(wrong: bytes) -> None:
    assert chosen(wrong) is None
    assert chosen(wrong, entry(OUTER), wrong) == entry(OUTER)


def test_nothing_offered_is_nothing_chosen() -> None:
    assert chosen() is None


def test_of_equals_the_first() -> None:
    assert chosen(entry(["internal", "external"]), entry(BOTH)) == entry(["internal", "external"])
