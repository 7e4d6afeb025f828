"""Opus through libopus, straight into memory that the caller names by address.

`OpusDecoder` is called once a packet and does nothing else: one foreign call, no copy, no cast, no allocation. Packets
are checked by libopus itself; `opus_packet.py` has the rules for those who must know before decoding. `OpusEncoder` is
the load client's.

Knows nothing of rings, sockets or streams. Lengths are frames (one sample per channel); samples are interleaved
int16 in native order. The reference is the API of libopus 1.3 (`opus_decode(3)`), whose error codes are handed on as
they are.

Trap: `opus_decode` with a length of 0 does not fail but invents `frame_size` frames of concealment, so an empty
WebSocket message would become 120 ms of sound. `decode_into` answers it with INVALID_PACKET instead
(tests/unit/test_codec_opus.py::test_an_empty_payload_is_refused_and_writes_nothing).
"""

import ctypes
import functools
import weakref
from collections.abc import Callable
from typing import Any

from audiohook.codec.opus_library import libopus
from audiohook.errors import AudiohookError

INVALID_PACKET = -4
"""OPUS_INVALID_PACKET."""

MAX_PACKET_BYTES = 1275
"""The largest packet with one Opus frame (RFC 6716 section 3.4, R2)."""

RATES_HZ = (8000, 12000, 16000, 24000, 48000)
"""The rates that an Opus decoder can produce from any packet."""

_APPLICATION_VOIP = 2048
_SET_BITRATE = 4002
_SET_VBR = 4006


class OpusError(AudiohookError):
    """libopus refused something that is not the peer's packet. `code` is libopus' own."""

    def __init__(self, action: str, code: int) -> None:
        super().__init__(f"libopus: {action}: {_Binding.strerror(code)} ({code})")
        self.code = code


class _Binding:
    """Our own function objects of libopus, with argument types set once.

    Addresses are `c_void_p`, so that a plain integer goes in; opuslib's wrappers want typed pointers, which cost a
    cast for each packet, and copy the result (21 microseconds a packet instead of 10). `decode` has no types at all:
    to convert six arguments by them takes as long again as the call (0.7 for 0.4 microseconds). What is no C int there
    has to be `bytes` or an object of ctypes.
    """

    def __init__(self) -> None:
        library = libopus()
        pointer, text, size, int32 = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int, ctypes.c_int32
        errors = ctypes.POINTER(ctypes.c_int)

        def function(name: str, result: Any, *arguments: Any) -> Callable[..., Any]:
            bound = library[name]
            bound.argtypes, bound.restype = arguments, result
            return bound

        self.decode = library["opus_decode"]
        self.decoder_get_size = function("opus_decoder_get_size", size, size)
        self.decoder_create = function("opus_decoder_create", pointer, int32, size, errors)
        self.decoder_destroy = function("opus_decoder_destroy", None, pointer)
        self.encode = function("opus_encode", int32, pointer, text, size, text, int32)
        self.encoder_create = function("opus_encoder_create", pointer, int32, size, size, errors)
        self.encoder_destroy = function("opus_encoder_destroy", None, pointer)
        # Variadic in C: the value of a request follows as an int, which ctypes passes as such without being told.
        self.encoder_ctl = function("opus_encoder_ctl", size, pointer, size)
        self.version = function("opus_get_version_string", text)
        self.error_text = function("opus_strerror", text, size)

    @staticmethod
    def strerror(code: int) -> str:
        return str(_binding().error_text(code).decode("ascii", "replace"))


@functools.cache
def _binding() -> _Binding:
    return _Binding()


def libopus_version() -> str:
    """Return libopus' own version string, for example `libopus 1.3.1`. Raises `BootError` if there is no libopus.

    One that was built outside of its repository does not know its version: then `libopus` alone.
    """
    return str(_binding().version().decode("ascii", "replace")).removesuffix(" unknown")


def _create(what: str, create: Callable[..., Any], *arguments: int) -> int:
    error = ctypes.c_int()
    state = create(*arguments, ctypes.byref(error))
    if not state or error.value != 0:
        raise OpusError(f"no {what} for {arguments}", error.value)
    return int(state)


@functools.cache
def _new_state(rate_hz: int, channels: int) -> bytes:
    """Return what libopus makes of a new decoder. Raises `OpusError`.

    Copied for every stream, as opus.h allows ("this state is always continuous in memory and only a shallow copy is
    sufficient to copy it"). To make one, libopus asks several times what the processor can do, by CPUID, which leaves a
    virtual machine each time: 58 microseconds there, a tenth of a new call, for 18 KB that are always the same.
    """
    binding = _binding()
    state = _create("decoder", binding.decoder_create, rate_hz, channels)
    try:
        return ctypes.string_at(state, binding.decoder_get_size(channels))
    finally:
        binding.decoder_destroy(state)


class OpusDecoder:
    """One stream's decoder. It is stateful: give it every packet of one stream, in order, and no other.

    `bound_frames` is 120 ms, the longest packet: what must be writable at the address given to `decode_into`, and what
    libopus never exceeds. The state is this object's own memory, and goes with it.
    """

    __slots__ = ("_address", "_conceal_step", "_decode", "_frame_bytes", "_memory", "bound_frames")

    def __init__(self, rate_hz: int, channels: int = 1) -> None:
        """Make a decoder that puts out `channels` (1 or 2) at `rate_hz` (one of RATES_HZ), whatever is sent.

        Raises `OpusError` if libopus will not make one, `BootError` if there is no libopus.
        """
        new = _new_state(rate_hz, channels)
        self._memory = (ctypes.c_char * len(new)).from_buffer_copy(new)
        self._address = ctypes.c_void_p()
        self._decode = _binding().decode
        self._frame_bytes = 2 * channels
        self._conceal_step = rate_hz // 400
        self.bound_frames = rate_hz * 120 // 1000

    def decode_into(self, payload: bytes, address: int) -> int:
        """Decode one packet to `address`, where `bound_frames` frames must be writable; return how many it had.

        A negative result is libopus' error code: the packet was refused, the decoder is as good as before. What lies
        behind the returned frames, and all of it after a refusal, is unspecified.
        """
        if not payload:
            return INVALID_PACKET
        self._address.value = address
        frames: int = self._decode(self._memory, payload, len(payload), self._address, self.bound_frames, 0)
        return frames

    def conceal_into(self, frames: int, address: int) -> int:
        """Invent `frames` frames that follow on from what was decoded (PLC), at `address`; return `frames`.

        `frames` is a positive multiple of 2.5 ms, of any length: libopus fades to comfort noise. Raises `ValueError`
        for another number, `OpusError` if libopus refuses, which it has no reason to.
        """
        if frames <= 0 or frames % self._conceal_step:
            raise ValueError(f"{frames} frames are not a positive multiple of 2.5 ms ({self._conceal_step} frames)")
        done = 0
        while done < frames:
            part = min(frames - done, self.bound_frames)
            self._address.value = address + done * self._frame_bytes
            made = int(self._decode(self._memory, None, 0, self._address, part, 0))
            if made != part:
                raise OpusError(f"concealment of {part} frames", min(made, 0))
            done += made
        return done


class OpusEncoder:
    """An encoder for speech (application VOIP), with variable or constant packet size."""

    __slots__ = ("__weakref__", "_binding", "_frame_bytes", "_output", "_state")

    def __init__(self, rate_hz: int, channels: int = 1, bitrate_bps: int = 24000, constant: bool = False) -> None:
        """Make an encoder of `rate_hz` (one of RATES_HZ) and `channels` (1 or 2).

        With `constant`, packets of one duration all have one size: N bytes each 20 ms are 400 x N bit/s. Raises
        `OpusError` for what libopus will not do, `BootError` if there is no libopus.
        """
        binding = _binding()
        self._state = _create("encoder", binding.encoder_create, rate_hz, channels, _APPLICATION_VOIP)
        _free_with(self, binding.encoder_destroy, self._state)
        self._binding = binding
        self._frame_bytes = 2 * channels
        self._output = ctypes.create_string_buffer(MAX_PACKET_BYTES)
        self._control("bitrate", _SET_BITRATE, bitrate_bps)
        self._control("VBR", _SET_VBR, 0 if constant else 1)

    def _control(self, name: str, request: int, value: int) -> None:
        code = int(self._binding.encoder_ctl(self._state, request, value))
        if code != 0:
            raise OpusError(f"{name} = {value}", code)

    def encode(self, pcm: bytes, frames: int) -> bytes:
        """Encode `frames` frames (2.5, 5, 10, 20, 40 or 60 ms) of interleaved int16 into one packet.

        Raises `ValueError` if `pcm` is not exactly that long (libopus would read past it), `OpusError` if `frames` is
        no Opus duration.
        """
        if len(pcm) != frames * self._frame_bytes:
            raise ValueError(f"{len(pcm)} bytes are not {frames} frames of {self._frame_bytes} bytes")
        size = int(self._binding.encode(self._state, pcm, frames, self._output, MAX_PACKET_BYTES))
        if size < 0:
            raise OpusError(f"encoding of {frames} frames", size)
        return self._output.raw[:size]


def _free_with(owner: object, destroy: Callable[..., Any], state: int) -> None:
    """Free `state` when `owner` goes.

    Not `__del__`: opuslib's own is run at interpreter exit after its globals are gone and prints there. Not at exit
    either: the process' memory goes with it.
    """
    weakref.finalize(owner, destroy, state).atexit = False
