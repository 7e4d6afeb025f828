"""Which of the media that a peer offers is taken, in the `audiohook2` dialect. Pure; knows no message but the offer.

The peer demands its own entry back, unmodified: same keys, same order of channels. So the choice keeps the bytes of the
offer (`Choice.offer`), whatever else stood in them. An entry that is not a media parameter is passed over, as is one
that the preferences do not name.
"""

from collections.abc import Sequence

import msgspec
from msgspec import Raw

from audiohook.session.audiohook2_messages import MediaParameter
from audiohook.session.events import Media

RATE_HZ = 8000
"""The one rate of the protocol."""

SAMPLE_BYTES = {"PCMU": 1, "L16": 2}
MAX_OFFER_BYTES = 1000

FORMATS = ("PCMU", "L16")
CHANNELS = ("external,internal", "external", "internal")

NO_MEDIA = Media("none", RATE_HZ, ("none",), "message")
"""A session without audio: valid, and a stream of length 0 but for its gaps."""


class Choice(msgspec.Struct, frozen=True):
    """What was chosen: the offer as it was sent, and what it means."""

    offer: Raw
    media: Media
    frame_bytes: int


class _LenientMedia(MediaParameter, frozen=True, forbid_unknown_fields=False):
    """A media parameter that may have more fields than are documented."""


_DECODER = msgspec.json.Decoder(_LenientMedia)


def choose(offers: Sequence[Raw], channels: Sequence[str], formats: Sequence[str]) -> Choice | None:
    """Return the offer that the preferences rank first, or None if none fits.

    `channels` ranks before `formats`: both sides of a call are worth more than a codec. An entry of `channels` is one
    name, or two with a comma, which stand for either order. Of equals the first offer wins.
    """
    best: tuple[tuple[int, int, int], Choice] | None = None
    wanted = [frozenset(entry.split(",")) for entry in channels]
    for number, offer in enumerate(offers):
        found = _read(offer)
        if found is None or frozenset(found.channels) not in wanted or found.format not in formats:
            continue
        rank = (wanted.index(frozenset(found.channels)), formats.index(found.format), number)
        if best is None or rank < best[0]:
            media = Media(found.format.lower(), RATE_HZ, found.channels, "message")
            best = rank, Choice(Raw(bytes(offer)), media, len(found.channels) * SAMPLE_BYTES[found.format])
    return best[1] if best else None


def _read(offer: Raw) -> MediaParameter | None:
    if len(bytes(offer)) > MAX_OFFER_BYTES:
        return None
    try:
        found = _DECODER.decode(offer)
    except (ValueError, RecursionError):
        return None
    return found if len(set(found.channels)) == len(found.channels) else None
