"""The article's numbers, measured here: `.venv/bin/python -m tests.bench.article`. What docs/article.md quotes.

Speech is encoded in the ways that the article describes (8 kHz, 120 to 160 bytes a packet) and as `audiohook-load`
does; then packets are decoded, compressed, glued and cut, and calls are placed on a daemon of one worker. Times are CPU
time, so that a neighbour's load changes little. Asserts nothing: `test_article_bench.py` holds the counts.
"""

import argparse
import io
import itertools
import json
import statistics
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from audiohook.codec.opus import OpusDecoder, OpusEncoder
from audiohook.codec.opus_packet import packet_frames
from audiohook.load.script import at_8000
from audiohook.load.speech import Clip, load_clips, obtain
from tests.support.daemon import Daemon, cpu_seconds
from tests.support.peer import Peer

ROOT = Path(__file__).parents[2]
PASSES = 5
CLIPS = 24
PACKETS_A_SECOND = 50
ARTICLE_BYTES = range(120, 161)
"""What the article calls typical of 20 ms at 8 kHz."""

Row = tuple[str, str, str]
"""What is measured, what came out, what the article says (or nothing)."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One way to encode speech."""

    name: str
    rate_hz: int
    bitrate_bps: int
    constant: bool

    def packets(self, clips: Sequence[Clip]) -> list[bytes]:
        """Return the 20 ms packets of all clips, one encoder for all of them."""
        step = self.rate_hz // PACKETS_A_SECOND
        heard = [at_8000(clip) if self.rate_hz == 8000 else clip.samples for clip in clips if self._can_use(clip)]
        pcm = np.concatenate(heard)
        encoder = OpusEncoder(self.rate_hz, 1, self.bitrate_bps, self.constant)
        return [encoder.encode(pcm[at : at + step].tobytes(), step) for at in range(0, len(pcm) - step + 1, step)]

    def _can_use(self, clip: Clip) -> bool:
        return clip.rate_hz in (self.rate_hz, 16_000)


KINDS = (
    Kind("VBR 24 kbit/s, 16 kHz", 16_000, 24_000, constant=False),
    Kind("VBR 56 kbit/s, 8 kHz", 8_000, 56_000, constant=False),
    Kind("CBR 120 bytes, 8 kHz", 8_000, 48_000, constant=True),
    Kind("CBR 160 bytes, 8 kHz", 8_000, 64_000, constant=True),
)


def rows_of(kind: Kind, packets: list[bytes]) -> Iterator[Row]:
    """Yield what can be said of one kind's packets."""
    sizes = sorted(map(len, packets))
    typical = sum(size in ARTICLE_BYTES for size in sizes)
    spread = f"{sizes[0]} to {sizes[-1]} bytes, median {sizes[len(sizes) // 2]}"
    yield "packet sizes", f"{spread}; {typical:,} of {len(sizes):,} in 120 to 160", "120 to 160 bytes"
    decode_us = cpu_us(lambda: decode(packets, kind.rate_hz)) / len(packets)
    yield "decode, a packet", f"{decode_us:.1f} µs", "500 to 1,200 µs"
    yield "calls that fill a core", f"{1e6 / (decode_us * PACKETS_A_SECOND):,.0f} by decoding alone", "100"
    deflate_us = cpu_us(lambda: deflated(packets)) / len(packets)
    smaller = deflated(packets)
    inflate_us = cpu_us(lambda: inflated(smaller)) / len(packets)
    percent = 100 * sum(map(len, smaller)) / sum(sizes)
    yield "deflated, a packet", f"{percent:.0f} % of its size; {deflate_us:.0f} µs", ""
    yield "inflate, a packet", f"{inflate_us:.1f} µs", "12,000 to 45,000 µs"
    glued = [first + second for first, second in itertools.pairwise(packets)]
    lasting = [packet_frames(packet, kind.rate_hz) for packet in glued]
    once = sum(frames == kind.rate_hz // PACKETS_A_SECOND for frames in lasting)
    yield (
        "glued pairs",
        f"{valid(lasting):,} of {len(glued):,} are valid Opus, {once:,} of 20 ms",
        "fail to parse",
    )
    cut = [part for packet in packets for part in (packet[: len(packet) // 2], packet[len(packet) // 2 :]) if part]
    lasting = [packet_frames(part, kind.rate_hz) for part in cut]
    yield "halves of packets", f"{valid(lasting):,} of {len(cut):,} are valid Opus", "fail to parse"


def valid(lasting: list[int | None]) -> int:
    return sum(frames is not None for frames in lasting)


def decode(packets: Sequence[bytes], rate_hz: int) -> None:
    """Decode as a worker does: one foreign call a packet, into memory that is there."""
    decoder = OpusDecoder(rate_hz)
    room = np.zeros(decoder.bound_frames, np.int16)
    address = room.ctypes.data
    for packet in packets:
        decoder.decode_into(packet, address)


def deflated(packets: Sequence[bytes]) -> list[bytes]:
    """Compress as RFC 7692 does, with context takeover: raw deflate, flushed behind each message, less the last 4."""
    stream = zlib.compressobj(wbits=-15)
    return [(stream.compress(packet) + stream.flush(zlib.Z_SYNC_FLUSH))[:-4] for packet in packets]


def inflated(messages: Sequence[bytes]) -> list[bytes]:
    stream = zlib.decompressobj(wbits=-15)
    return [stream.decompress(message + b"\0\0\xff\xff") for message in messages]


def cpu_us(work: Callable[[], object]) -> float:
    """Return the median CPU time of `work`, in microseconds."""
    spent = []
    for _ in range(PASSES):
        began_ns = time.process_time_ns()
        work()
        spent.append(time.process_time_ns() - began_ns)
    return statistics.median(spent) / 1000


def live_rows(calls: int, seconds: float, audio: Path) -> Iterator[Row]:
    """Place calls on a daemon of one worker and yield what they cost it."""
    with quiet_daemon(calls) as daemon:
        (worker,) = daemon.workers().values()
        command = [sys.executable, "-m", "audiohook.cli.load", "run", daemon.url, "--audio", str(audio), "--json"]
        before_s = cpu_seconds(worker)
        done = subprocess.run(
            [*command, "--calls", str(calls), "--seconds", str(seconds)], cwd=ROOT, stdout=subprocess.PIPE, check=False
        )
        result = json.loads(done.stdout)
        spent_us = (cpu_seconds(worker) - before_s) * 1e6 / result["packets"]
    late = "; THE CLIENT WAS LATE" if result["client_late"] else ""
    yield "calls that ran to their end", f"{result['endings'].get('completed', 0):,} of {calls:,}{late}", ""
    yield "the whole way, a packet", f"{spent_us:.0f} µs of CPU", "500 to 1,200 µs to decode it"
    yield "share of a core", f"{100 * spent_us * calls * PACKETS_A_SECOND / 1e6:.0f} %", "100 % at 100 calls"


def connect_rows(calls: int) -> Iterator[Row]:
    """Connect so many calls at once, which then say nothing, and yield what they take."""
    with quiet_daemon(calls) as daemon, ExitStack() as stack:
        (worker,) = daemon.workers().values()
        before_kib = anonymous_kib(worker)
        peers = [stack.enter_context(Peer(daemon.address)) for _ in range(calls)]
        began_ns = time.monotonic_ns()
        for peer in peers:
            peer.send(peer.request)
        accepted = sum(peer.read_answer().accepted for peer in peers)
        milliseconds = (time.monotonic_ns() - began_ns) // 1_000_000
        kib = (anonymous_kib(worker) - before_kib) / calls
    yield "accepted", f"{accepted:,} of {calls:,}, the last after {milliseconds:,} ms", "out of memory at 500 calls"
    yield "memory of a call beside its slot", f"{kib:.0f} KiB", ""


@contextmanager
def quiet_daemon(streams: int) -> Iterator[Daemon]:
    """Run a daemon of one worker. The tests' daemon prints its log at the end, for pytest to show."""
    settings = ("server.workers=1", f"memory.streams={streams}", "memory.ring_seconds=5")
    with ExitStack() as stack:
        stack.enter_context(redirect_stdout(io.StringIO()))
        daemon = stack.enter_context(Daemon(*settings)).wait_ready()
        with redirect_stdout(sys.__stdout__):
            yield daemon


def anonymous_kib(pid: int) -> int:
    """Return how much memory of its own a process has: not the arena, which is shared."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon:"))


def print_table(title: str, rows: Iterator[Row]) -> None:
    print(f"\n{title}")
    for what, measured, said in rows:
        print(f"  {what:<34}{measured:<66}{said and 'article: '}{said}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--audio", type=Path, help="WAV files to encode; default: speech, obtained once under var/")
    parser.add_argument("--calls", type=int, default=100, help="calls that talk")
    parser.add_argument("--seconds", type=float, default=10, help="how long they talk")
    parser.add_argument("--connects", type=int, default=500, help="calls that connect at once")
    given = parser.parse_args()
    audio = given.audio or obtain(ROOT / "var")
    clips = load_clips(audio, CLIPS)
    for kind in KINDS:
        print_table(kind.name, rows_of(kind, kind.packets(clips)))
    print_table(f"{given.calls} calls, one worker", live_rows(given.calls, given.seconds, audio))
    print_table(f"{given.connects} calls that connect at once, one worker", connect_rows(given.connects))


if __name__ == "__main__":
    main()
