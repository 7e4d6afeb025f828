"""What must hold of calls that come through a proxy, whichever it is. The daemon asks everybody for keys.

Keys on purpose: a signature covers the Host header and the request's target, so a proxy that rewrites either is found
out by the first signed call.
"""

import http.client
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import audiohook
from audiohook.load.speech_source import write_wav
from audiohook.wire.frames import CloseReceived
from tests.faults.live import HOURS_S
from tests.interop.proxies import Proxy, Sample
from tests.interop.tunnel import CALLER, Tunnel
from tests.process.reloads import reload
from tests.support.daemon import ROOT, Daemon
from tests.support.genesys import BINARY, MASK, Genesys, masked_frame

ORGANIZATION = "d7934305-0972-4844-938e-9060eef73d05"
SIGNED_KEY, SECRET, UNSIGNED_KEY = "c2lnbmVk", "TXlTdXBlclNlY3JldEtleVRlbGxOby0xITJAMyM0JDU=", "dW5zaWduZWQ="
SHARED_SECRET = "at-least-sixteen-characters"
TARGET = "/a%2Fb//c;d?tenant=a%20b&empty="
"""What a proxy that tidies paths up would change."""

CALLS = 6
SECONDS = 1.5
DEADLINE_S = 60
LARGEST_BYTES = 65_536


@dataclass
class Behind:
    """A daemon behind a proxy, and the way to it; `folder` has the callers' files."""

    daemon: Daemon
    proxy: Proxy
    tunnel: Tunnel
    folder: Path


def daemon_settings(folder: Path, sample: Sample) -> list[str]:
    """Write the keys and what a caller needs into `folder`; return how to start the daemon that a sample wants."""
    keys = folder / "keys.toml"
    entry = '[[key]]\norganization = "{}"\napi_key = "{}"\nsecret = "{}"\n'
    pairs = ((SIGNED_KEY, SECRET), (UNSIGNED_KEY, ""))
    shared = f'[[shared_secret]]\nvalue = "{SHARED_SECRET}"\n'
    keys.write_text("".join(entry.format(ORGANIZATION, *pair) for pair in pairs) + shared)
    (folder / "secret").write_text(SECRET)
    (folder / "shared").write_text(SHARED_SECRET)
    for private in (keys, folder / "secret", folder / "shared"):
        private.chmod(0o600)
    for rate_hz in (8000, 16000):
        samples = np.random.default_rng(rate_hz).integers(-9000, 9000, rate_hz // 2).astype("<i2")
        write_wav(folder / "audio" / f"noise{rate_hz}.wav", rate_hz, samples.tobytes())
    wanted = [setting for setting in sample.settings() if not setting.startswith("server.listen=")]
    assert len(wanted) < len(sample.settings()), "a sample says where the daemon listens"
    return [*wanted, f"auth.keys_file={keys}"]


def every_sample_arrives_and_the_caller_is_seen(behind: Behind) -> None:
    """Place calls of both dialects, signed ones among them; hold every sample and address to what they were."""
    with placed(behind, SECONDS):
        pass
    the_caller_is_seen(behind)


def a_reload_costs_no_call(behind: Behind) -> None:
    """Reload under live calls, and place others behind it: nobody loses anything, the caller is seen of all."""
    daemon = behind.daemon
    before = {stream.stream_id for stream in daemon.hub.streams(ended=True)}
    with placed(behind):
        daemon.wait(lambda: daemon.slot_states()["LIVE"] == CALLS, "the calls that are live meanwhile")
        reload(daemon, 1)
        with placed(behind, SECONDS):
            pass
        assert daemon.slot_states()["LIVE"] == CALLS
    streams = [stream for stream in daemon.hub.streams(ended=True) if stream.stream_id not in before]
    assert sorted(stream.card()["generation"] for stream in streams) == [0] * CALLS + [1] * CALLS
    assert {stream.end_reason for stream in streams} == {"peer_closed"}
    the_caller_is_seen(behind)


@contextmanager
def placed(behind: Behind, seconds: float | None = None) -> Iterator[None]:
    """Place calls of both dialects that last so long, or for the `with` block; hold every sample to what was sent."""
    folder = behind.folder
    command = [sys.executable, "-m", "audiohook.cli.load", "run", f"{behind.tunnel.url}{TARGET}"]
    command += ["--dialect", "mixed", "--calls", str(CALLS), "--seconds", str(seconds or HOURS_S), "--verify", "--json"]
    command += ["--audio", str(folder / "audio"), "--hub", behind.daemon.hub_path]
    command += ["--api-key", SIGNED_KEY, "--organization", ORGANIZATION]
    command += ["--secret-file", str(folder / "secret"), "--shared-secret-file", str(folder / "shared")]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as placing:
        try:
            yield
            if seconds is None:
                placing.send_signal(signal.SIGINT)
            output, errors = placing.communicate(timeout=DEADLINE_S)
        finally:
            placing.kill()
    assert output, errors
    figures: dict[str, Any] = json.loads(output)
    assert figures["endings"] == {"completed" if seconds else "interrupted": CALLS}
    assert (figures["verification"]["perfect"], figures["faults"]) == (CALLS, {}), output + errors


def the_caller_is_seen(behind: Behind) -> None:
    """Hold the address in every card and in every line of the log, of both dialects, to that of the caller."""
    streams = list(behind.daemon.hub.streams(ended=True))
    assert {stream.dialect for stream in streams} >= {"context", "audiohook2"}
    assert {address_of(stream) for stream in streams} == {CALLER}
    assert {match[1] for match in behind.daemon.logged(r"stream started .* from=(\S+):\d+")} == {CALLER}


def address_of(stream: audiohook.Stream) -> str:
    return stream.source_address.rpartition(":")[0]


def the_largest_messages_arrive_and_larger_ones_are_refused(behind: Behind) -> None:
    """The daemon's bound, and no smaller one of the proxy's, decides."""
    with Genesys(behind.tunnel.address) as genesys:
        genesys.opened(api_key=UNSIGNED_KEY)
        noise = np.random.default_rng(5).integers(-20_000, 20_000, (LARGEST_BYTES // 2, 2)).astype(np.int16)
        genesys.say(noise)
        genesys.say(noise[::-1].copy())
        genesys.close()
    stream = behind.daemon.hub.open(call_id=genesys.caller.conversation_id)
    heard = np.concatenate([block.samples.copy() for block in stream.blocks(800, start="oldest")])
    assert np.array_equal(heard, genesys.sent)
    with Genesys(behind.tunnel.address) as genesys:
        genesys.opened(api_key=UNSIGNED_KEY)
        genesys.socket.sendall(masked_frame(b"\0" * (LARGEST_BYTES + 2), MASK, BINARY))
        while not any(isinstance(message, CloseReceived) for message in genesys.messages):
            genesys.turn()
        (closed,) = [message for message in genesys.messages if isinstance(message, CloseReceived)]
        assert closed.code == 1009


def health_is_asked_through_it(behind: Behind) -> None:
    connection = http.client.HTTPConnection(*behind.tunnel.address, timeout=DEADLINE_S)
    connection.request("GET", "/healthz")
    answer = connection.getresponse()
    assert (answer.status, answer.read()) == (200, b"ok\n")
    connection.close()
