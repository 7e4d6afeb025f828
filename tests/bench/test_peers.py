"""The servers by others: each takes calls as the driver makes them and publishes what libopus or the table gives.

They are started and called by the bench's own means. Nothing is installed here: what is not there is skipped.
"""

import json
import os
import re
import time
from pathlib import Path

import numpy as np
import pytest

from audiohook.codec import pcmu
from audiohook.wire.client import masked_frame
from tests.bench.cores import two_cores
from tests.bench.driving import MASK, placed
from tests.bench.media import HEADER_BYTES, OPUS_8K, OPUS_16K, PCMU_100, RING_SECONDS, Media
from tests.bench.peers import install
from tests.bench.peers.catalogue import ARTICLE, PEERS, PICOWS, PeerServer
from tests.bench.servers import ALL, COUNT_BYTES
from tests.interop.tools import ToolError
from tests.support.daemon import LOOK_S, PATIENCE_S, ROOT
from tests.support.peer import Samples, decoded

CALLS = 3
SECONDS = 2.6
"""More than the ring holds, so that it goes round."""

OWN_LIBOPUS_STEPS = 2
"""Node's module brings a libopus of its own, which may round otherwise. A wrong packet is off by hundreds."""

TAKEN = [(peer, media) for peer in PEERS for media in (OPUS_16K, OPUS_8K, PCMU_100) if media.kind in peer.kinds]


@pytest.mark.parametrize(("peer", "media"), TAKEN, ids=[f"{peer.name}-{media.kind}" for peer, media in TAKEN])
def test_a_peer_publishes_exactly_what_it_was_sent(peer: PeerServer, media: Media) -> None:
    reason = peer.available()
    if reason is not None:
        pytest.skip(f"{peer.name}: {reason}")
    packets = [_packets(media, call) for call in range(CALLS)]
    expected = [_decoded(media, sent) for sent in packets]
    (server,) = (server for server in ALL if server.name == peer.name)
    with server.start(media, CALLS, two_cores()[1]) as running, placed(running, media, CALLS) as calls:
        for call, sent in zip(calls, packets, strict=True):
            call.socket.sendall(b"".join(masked_frame(packet, MASK) for packet in sent))
        words = running.words([call.name for call in calls])
        assert words.at == [call * media.slot_bytes + COUNT_BYTES for call in range(CALLS)], "slots in order of calls"
        for at, samples in zip(words.at, expected, strict=True):
            _wait_for(words.fd, at, len(samples))
            slot = os.pread(words.fd, media.slot_bytes, at - COUNT_BYTES)
            off = _unrolled(media, slot, len(samples)).astype(int) - samples[-media.rate_hz * RING_SECONDS :]
            assert abs(off).max() <= (OWN_LIBOPUS_STEPS if peer is ARTICLE else 0)


def _packets(media: Media, call: int) -> list[bytes]:
    """Return what a call sends: other packets than another one's from the start."""
    packets = media.packets()
    count = round(SECONDS * 1000 / media.packet_ms)
    return [packets[(7 * call + number) % len(packets)] for number in range(count)]


def _decoded(media: Media, packets: list[bytes]) -> Samples:
    """Return the frames of packets, shape (frames, channels)."""
    if media.is_opus:
        return decoded(packets, media.rate_hz).reshape(-1, 1)
    return pcmu.DECODED[np.frombuffer(b"".join(packets), np.uint8)].reshape(-1, media.channels)


def _wait_for(fd: int, at: int, frames: int) -> None:
    """Wait until so many frames are published and see that no more are."""
    deadline = time.monotonic() + PATIENCE_S
    while (published := int.from_bytes(os.pread(fd, 8, at), "little")) < frames:
        assert time.monotonic() < deadline, f"{published} of {frames} frames"
        time.sleep(LOOK_S)
    assert published == frames


def _unrolled(media: Media, slot: bytes, published: int) -> Samples:
    """Return the ring's frames in their order, the oldest first."""
    ring = np.frombuffer(slot, np.int16, offset=HEADER_BYTES).reshape(-1, media.channels)
    return np.roll(ring, -(published % len(ring)), axis=0)


def test_a_command_ends_with_what_a_server_is_given() -> None:
    for peer in PEERS:
        command = peer.command(8443, "/dev/shm/ring", 100, "opus16k")
        assert command[-4:] == ["8443", "/dev/shm/ring", "100", "opus16k"]
        assert str(peer.program) in command
        assert peer.program.is_file()
    assert len({peer.name for peer in PEERS}) == len(PEERS)


def test_a_kind_that_a_peer_cannot_take_is_refused() -> None:
    with pytest.raises(ValueError, match="article cannot take pcmu"):
        ARTICLE.command(8443, "/dev/shm/ring", 100, "pcmu")


# What is installed


def test_all_versions_are_pinned_and_shared_ones_are_the_daemons() -> None:
    ours, theirs = (_pins(path) for path in (ROOT / "constraints.txt", install.HERE / "requirements.txt"))
    assert {name: ours[name] for name in theirs if name in ours} == {"numpy": theirs["numpy"]}
    assert theirs.keys() >= {"picows", "uvloop", "websockets"}
    node = json.loads((install.HERE / "package.json").read_text(encoding="utf-8"))["dependencies"]
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", version) for version in node.values())


def _pins(path: Path) -> dict[str, str]:
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    return dict(line.split("==") for line in lines)


def test_what_is_not_installed_is_said_with_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(install, "PYTHON_HOME", tmp_path)
    assert PICOWS.available() == f"not installed, or not as pinned: {install.REMEDY}"
    (tmp_path / "installed").write_text("another interpreter, other pins")
    assert PICOWS.available() is not None
    monkeypatch.setenv("PATH", str(tmp_path))
    assert ARTICLE.available() == "node: not on the search path"


def test_without_node_the_rest_is_installed_and_its_absence_noted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(install, "FOLDER", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolError, match="node and npm: not on the search path"):
        install.install_node()
    made: list[str] = []
    python = ("the peers in Python", lambda: "not yet", tmp_path / "python", lambda: made.append("python"))
    node = ("the peer in Node", install.why_no_node, tmp_path / "node_modules", install.install_node)
    monkeypatch.setattr(install, "PARTS", (node, python))
    assert install.install() == ["the peer in Node: left out: node and npm: not on the search path"]
    assert made == ["python"]
