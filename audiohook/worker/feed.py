"""From a message of audio to published frames, a way for each codec. Knows a stream's writer, no slot and no session.

A `Feed` is one stream's. Whatever the peer sends, media time advances by whole frames, and nothing is decoded anywhere
but into the ring.
"""

import ctypes
from collections.abc import Callable
from typing import Protocol

from audiohook.codec.framing import framing_for
from audiohook.codec.l16 import ByteOrder, L16Decoder
from audiohook.codec.opus import OpusDecoder
from audiohook.codec.opus_packet import packet_frames
from audiohook.codec.pcmu import PcmuDecoder
from audiohook.codec.recut import RecutWatch
from audiohook.memory import layout
from audiohook.memory.row import Row
from audiohook.memory.writer import StreamWriter
from audiohook.net.stream_socket import READ_BYTES
from audiohook.session.events import Media
from audiohook.units import frames_ns

STEREO_BIT = 0x04
USUAL_PACKETS_A_SECOND = 50

PCM_PIECE_FRAMES = 800
"""A long PCM message (8 s are legal) is published in pieces of 0.1 s: the shortest ring must have room for one."""


class Feed(Protocol):
    """Decodes one stream's messages into its ring."""

    masked: bool
    """While set, what is decoded goes to a scratch and never to the ring; its time passes as a gap."""

    def take(self, message: bytes, now_ns: int) -> None:
        """Decode and publish one message, which is not empty."""

    def skip(self, messages: list[bytes], cause: int, now_ns: int) -> None:
        """Let the time of messages, none empty, pass without decoding them: a gap of `cause`. They are counted."""

    def finish(self, now_ns: int) -> None:
        """Publish what is left at the end of the stream, if anything is."""


Decoder = OpusDecoder | PcmuDecoder | L16Decoder

_SAMPLE_BYTES = {"pcmu": 1, "l16": 2}


def portion_bytes(media: Media) -> int:
    """Return what one read of such a stream takes at most: whoever fills it has a backlog (net/loop.py).

    A second of PCM, which costs less than the 4 KB that are 1.7 s of Opus. Were it 4 KB here too, they would be a
    quarter of a second of PCMU in stereo: in turns that are as long, live calls would all be in the bulk lane, where
    they wait for one another (make faults: overload), and nearly each of their messages would be cut in two.
    """
    second_bytes = media.rate_hz * len(media.channel_names) * _SAMPLE_BYTES.get(media.codec, 0)
    return max(READ_BYTES, second_bytes)


def decoder_for(media: Media, byte_order: ByteOrder) -> Decoder:
    """Return a new decoder for a stream. Raises OpusError if libopus will not make one.

    Made before a slot is taken, so that there is nothing to give back then.
    """
    channels = len(media.channel_names)
    if media.codec == "opus":
        return OpusDecoder(media.rate_hz, channels)
    # "none" is a session without audio: nothing will ever be decoded.
    return L16Decoder(channels, byte_order) if media.codec == "l16" else PcmuDecoder(channels)


def feed_for(decoder: Decoder, media: Media, writer: StreamWriter, row: Row, tell_recut: Callable[[int], None]) -> Feed:
    """Return the way of a stream's messages through its decoder into its ring.

    `tell_recut` is called at most once, with N, where the stream needs framing `fixed:N` and does not have it.
    """
    if isinstance(decoder, OpusDecoder):
        return OpusFeed(decoder, media, writer, row, tell_recut)
    return PcmFeed(decoder, writer, row)


def _pass(row: Row, writer: StreamWriter, frames: int, cause: int, now_ns: int, packets: int, wire_bytes: int) -> None:
    """Let the time of packets pass that nobody hears, and count them."""
    row.count("packets", packets)
    row.count("wire_bytes", wire_bytes)
    writer.gap(frames, cause, now_ns, packets, wire_bytes)


class OpusFeed:
    """Opus packets, cut out of messages by the stream's framing policy; what libopus refuses is concealed."""

    def __init__(
        self, decoder: OpusDecoder, media: Media, writer: StreamWriter, row: Row, tell_recut: Callable[[int], None]
    ) -> None:
        self._decoder = decoder
        self._framing = framing_for(media.framing)
        self._whole = media.framing == "message"
        self._recut_watch = RecutWatch(writer.slot) if self._whole else None
        self._tell_recut = tell_recut
        self._writer = writer
        self._row = row
        self._rate_hz = media.rate_hz
        self._usual_frames = self._packet_frames = media.rate_hz // USUAL_PACKETS_A_SECOND
        self._scratch = ctypes.create_string_buffer(self._decoder.bound_frames * writer.frame_bytes)
        self.masked = False

    def take(self, message: bytes, now_ns: int) -> None:
        if self.masked:
            self._take_masked(message, now_ns)
            return
        if self._recut_watch is not None and (packet_bytes := self._recut_watch.take(message)) is not None:
            self._recut_watch = None
            self._tell_recut(packet_bytes)
        if self._whole:
            self._decode(message, now_ns)
            return
        for packet in self._framing.cut(message):
            self._decode(packet, now_ns)

    def _take_masked(self, message: bytes, now_ns: int) -> None:
        """Take a message that nobody may hear: of such a one the watch keeps nothing either."""
        if self._recut_watch is not None:
            self._recut_watch.pass_over(len(message))
        for packet in self._framing.cut(message):
            self._pass_masked(packet, now_ns)

    def finish(self, now_ns: int) -> None:
        """Conceal a packet that never became whole."""
        if self._framing.remainder():
            self._conceal(now_ns, len(self._framing.remainder()))

    def skip(self, messages: list[bytes], cause: int, now_ns: int) -> None:
        frames = packets = wire_bytes = 0
        for message in messages:
            if self._recut_watch is not None:
                self._recut_watch.pass_over(len(message))
            for packet in self._framing.cut(message):
                self._packet_frames = packet_frames(packet, self._rate_hz) or self._packet_frames
                frames += self._packet_frames
                wire_bytes += len(packet)
                packets += 1
        if packets:
            _pass(self._row, self._writer, frames, cause, now_ns, packets, wire_bytes)

    def measure(self, elapsed_ns: int, cause: int, now_ns: int) -> None:
        """Let the time pass between the arrivals of two packets between which none was sent, in whole packets.

        The later one is still to come, and takes its own time. Until a stream has had a packet they count as 20 ms.
        """
        packet_ns = frames_ns(self._packet_frames, self._rate_hz)
        missing = (elapsed_ns + packet_ns // 2) // packet_ns - 1
        if missing > 0:
            self._writer.gap(missing * self._packet_frames, cause | layout.MEASURED, now_ns)

    def _decode(self, packet: bytes, now_ns: int) -> None:
        row, writer, decoder = self._row, self._writer, self._decoder
        wire_bytes = len(packet)
        frames = decoder.decode_into(packet, writer.reserve(decoder.bound_frames))
        if frames <= 0:
            row.count_packet(wire_bytes, 0)
            self._conceal(now_ns, wire_bytes)
            return
        writer.publish(frames, layout.DECODED, now_ns, wire_bytes)
        row.count_packet(wire_bytes, frames)
        self._packet_frames = frames
        if frames != self._usual_frames or packet[0] & STEREO_BIT:
            row.count("unusual_packets")

    def _pass_masked(self, packet: bytes, now_ns: int) -> None:
        """Decode for the decoder's sake (its state is its history), where nobody can hear it."""
        frames = self._decoder.decode_into(packet, ctypes.addressof(self._scratch))
        ctypes.memset(self._scratch, 0, len(self._scratch))
        self._packet_frames = frames if frames > 0 else self._packet_frames
        _pass(self._row, self._writer, self._packet_frames, layout.MASK, now_ns, 1, len(packet))

    def _conceal(self, now_ns: int, wire_bytes: int) -> None:
        """Fill in for a packet that could not be decoded, for as long as the last good one was."""
        frames = self._packet_frames
        self._decoder.conceal_into(frames, self._writer.reserve(frames))
        self._writer.publish(frames, layout.CONCEALED, now_ns, wire_bytes)
        self._row.count("concealed_packets")


class PcmFeed:
    """PCMU or L16: nothing to cut, nothing that can be refused."""

    def __init__(self, decoder: PcmuDecoder | L16Decoder, writer: StreamWriter, row: Row) -> None:
        self._decoder = decoder
        self._writer = writer
        self._row = row
        self.masked = False

    def take(self, message: bytes, now_ns: int) -> None:
        row, writer, decoder = self._row, self._writer, self._decoder
        frames = decoder.frames_in(message)
        if not frames:
            return
        if self.masked:
            row.count_packet(len(message), 0)
            writer.gap(frames, layout.MASK, now_ns, packets=1, wire_bytes=len(message))
            return
        row.count_packet(len(message), frames)
        if frames <= PCM_PIECE_FRAMES:
            decoder.decode_into(message, writer.reserve(frames))
            writer.publish(frames, layout.DECODED, now_ns, len(message))
            return
        frame_bytes = len(message) // frames
        piece_bytes = PCM_PIECE_FRAMES * frame_bytes
        for at in range(0, frames * frame_bytes, piece_bytes):
            piece = message[at : at + piece_bytes]
            written = decoder.decode_into(piece, writer.reserve(decoder.frames_in(piece)))
            writer.publish(written, layout.DECODED, now_ns, len(piece), packets=int(at == 0))

    def skip(self, messages: list[bytes], cause: int, now_ns: int) -> None:
        audible = [message for message in messages if self._decoder.frames_in(message)]
        if audible:
            frames = sum(map(self._decoder.frames_in, audible))
            wire_bytes = sum(map(len, audible))
            _pass(self._row, self._writer, frames, cause, now_ns, len(audible), wire_bytes)

    def finish(self, now_ns: int) -> None:
        """Nothing is ever held back."""
