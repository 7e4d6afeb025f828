"""A Python peer's side of the ring file: slots are taken in the order of calls, and payloads are decoded into them.

What a slot is: tests/bench/servers.py. All peers in Python decode and write through here, so that they differ by their
WebSocket library alone: the libopus that LIBOPUS names, called with an address in the ring, and the daemon's own table
of PCMU. Not `opuslib`'s classes, which copy what they decode (audiohook/codec/opus.py).

Knows neither sockets nor event loops. Nothing is freed before the process ends, which serves one measurement; what is
malformed raises, and is the bench's mistake.
"""

import ctypes
import json
import mmap
import os
import resource
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import numpy as np

from audiohook.codec.pcmu import DECODED

HEADER_BYTES = 64
PUBLISHED_BYTE = 16
RING_SECONDS = 2
RATES_HZ = {"opus16k": 16_000, "opus8k": 8_000, "pcmu": 8_000}
PARTICIPANT = "x-genesys-participant-id"
BACKLOG = 4096
"""For `listen`: all calls of a run may come at once."""

Write = Callable[[bytes], None]
"""Decodes one payload to where its slot's ring goes on, and publishes it."""


class Slots:
    """The ring file, mapped for as long as the process lives."""

    def __init__(self, ringfile: str, calls: int, kind: str) -> None:
        self._pcmu = kind == "pcmu"
        self._rate_hz = RATES_HZ[kind]
        self._ring_frames = RING_SECONDS * self._rate_hz
        channels = 2 if self._pcmu else 1
        self._slot_bytes = HEADER_BYTES + 2 * channels * self._ring_frames
        with Path(ringfile).open("r+b") as file:
            flags = mmap.MAP_SHARED | mmap.MAP_POPULATE
            self._memory = mmap.mmap(file.fileno(), calls * self._slot_bytes, flags)
        self._counts = memoryview(self._memory).cast("Q")
        self._address = ctypes.addressof(ctypes.c_char.from_buffer(self._memory))
        self._taken = 0
        if not self._pcmu:
            self._bind()
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

    def _bind(self) -> None:
        """Set the argument types once: plain integers go in as addresses, without a cast for each packet."""
        library = ctypes.CDLL(os.environ["LIBOPUS"])
        pointer, integer = ctypes.c_void_p, ctypes.c_int
        self._create, self._decode = library["opus_decoder_create"], library["opus_decode"]
        self._create.argtypes, self._create.restype = (ctypes.c_int32, integer, pointer), pointer
        self._decode.argtypes = (pointer, ctypes.c_char_p, ctypes.c_int32, pointer, integer, integer)

    def take(self, name: str) -> Write:
        """Give the next slot to the call of that UUID."""
        start = self._taken * self._slot_bytes
        self._taken += 1
        self._memory[start : start + 16] = UUID(name).bytes
        return self._pcmu_into(start) if self._pcmu else self._opus_into(start)

    def _opus_into(self, start: int) -> Write:
        decode, counts, ring_frames = self._decode, self._counts, self._ring_frames
        decoder = self._create(self._rate_hz, 1, None)
        ring, count = self._address + start + HEADER_BYTES, (start + PUBLISHED_BYTE) // 8
        published = 0

        def write(packet: bytes) -> None:
            nonlocal published
            at = published % ring_frames
            # Packets of 20 ms divide the ring, so none is cut by its end; a longer one would be refused.
            frames = decode(decoder, packet, len(packet), ring + 2 * at, ring_frames - at, 0)
            if frames > 0:
                published += frames
                counts[count] = published

        return write

    def _pcmu_into(self, start: int) -> Write:
        counts, samples = self._counts, 2 * self._ring_frames
        ring = np.frombuffer(self._memory, np.int16, samples, start + HEADER_BYTES)
        count = (start + PUBLISHED_BYTE) // 8
        published = 0

        def write(payload: bytes) -> None:
            nonlocal published
            at = 2 * published % samples
            DECODED.take(np.frombuffer(payload, np.uint8), out=ring[at : at + len(payload)], mode="clip")
            published += len(payload) // 2
            counts[count] = published

        return write

    def open(self, text: str) -> tuple[Write, str]:
        """Take AudioHook v2's `open`: give its session the next slot; return also the `opened` to answer."""
        said = json.loads(text)
        parameters = {"startPaused": False, "media": said["parameters"]["media"][:1]}
        opened = {"version": "2", "id": said["id"], "type": "opened", "seq": 1, "clientseq": said["seq"]}
        return self.take(said["id"]), json.dumps({**opened, "parameters": parameters})
