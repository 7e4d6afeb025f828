"""Fuzzing in every run of the suite: what was kept, then a fraction of a second a target, always the same inputs.

And the harness itself is put to the test: bugs that are planted in the code under test have to be found.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from audiohook.auth import components, proxy_protocol
from audiohook.auth.components import REQUEST_TARGET, Message
from audiohook.codec.framing import FixedFraming
from audiohook.session.audiohook2_position import MediaTime
from audiohook.session.context import ContextSession
from audiohook.wire import request as wire_request
from audiohook.wire.frames import CloseReceived, WebSocket
from tests.fuzz import harness
from tests.fuzz.harness import Result, examine, fuzz
from tests.fuzz.kept import keep, kept
from tests.fuzz.target import Target, chance, load_target, random_cut, target_names

SEED = 1
SECONDS = 0.2
PLANTED_INPUTS = 4000


@pytest.mark.parametrize("name", target_names())
def test_what_was_kept_passes(name: str) -> None:
    target = load_target(name)
    for data in kept(name):
        assert examine(target, data) is None


@pytest.mark.parametrize("name", target_names())
def test_a_short_run(name: str) -> None:
    enough = len(kept(name)) + 20  # however slow the machine is
    result = fuzz(load_target(name), kept(name), SEED, lambda inputs, seconds: seconds < SECONDS or inputs < enough)
    assert result.failure is None
    assert result.inputs >= enough


def test_every_kept_input_belongs_to_a_target() -> None:
    folder = Path(__file__).parent / "corpus"
    assert {path.name for path in folder.iterdir() if path.is_dir()} <= set(target_names())


@pytest.mark.parametrize("name", target_names())
def test_the_seeds_are_worth_mutating(name: str) -> None:
    target = load_target(name)
    seeds = [list(seed) for seed in target.seeds()]
    assert len(seeds) >= 2
    for seed in seeds:
        target.check(target.assemble(seed))


# Planted bugs


def run(name: str, inputs: int = PLANTED_INPUTS) -> Result:
    return fuzz(load_target(name), [], SEED, lambda so_far, _: so_far < inputs)


def found(name: str) -> str:
    failure = run(name).failure
    assert failure is not None, "the planted bug was not found"
    return failure.reason


def test_an_exception_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def receive_close(self: ContextSession, code: int | None, text: str, now_ns: int) -> None:
        text.encode("ascii")
        right(self, code, text, now_ns)

    right = ContextSession.receive_close
    monkeypatch.setattr(ContextSession, "receive_close", receive_close)
    assert found("context_call").startswith("UnicodeEncodeError in ")


def test_an_outcome_that_depends_on_the_cut_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire_request, "_LONGEST_HEAD_END", 1)  # the search for the head's end forgets what came before
    assert "depends on the cut" in found("request")


def test_slow_octets_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    # What request.py keeps from h11; an input that is slow is a chance in thousands, so the kept ones are asked.
    monkeypatch.setattr(wire_request, "_FORBIDDEN", ())
    monkeypatch.setattr(harness, "SLOW_SECONDS", 0.1)
    result = fuzz(load_target("request"), kept("request"), SEED, lambda so_far, _: so_far < len(kept("request")) + 1)
    assert result.failure is not None
    assert result.failure.kind == "slow"


def test_a_limit_that_is_off_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def websocket(self: WebSocket, client: bool, max_message_bytes: int) -> None:
        right(self, client, max_message_bytes + 1)

    right = WebSocket.__init__
    monkeypatch.setattr(WebSocket, "__init__", websocket)
    assert found("frames").startswith("AssertionError in tests/fuzz/targets/frames.py")


def test_a_message_behind_the_end_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def receive_data(self: WebSocket, data: bytes) -> list[Any]:
        messages = right(self, data)
        return [*messages, b"late"] if messages and isinstance(messages[-1], CloseReceived) else messages

    right = WebSocket.receive_data
    monkeypatch.setattr(WebSocket, "receive_data", receive_data)
    assert "something behind the end" in found("frames")


def test_a_call_that_never_ends_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ContextSession, "_beat", lambda self, now_ns: None)
    assert found("context_call").startswith("AssertionError in ")


def test_a_lost_byte_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def cut(self: FixedFraming, message: bytes) -> list[bytes]:
        packets = right(self, message)
        if len(self._held) == 7:
            self._held = self._held[:6]
        return packets

    right = FixedFraming.cut
    monkeypatch.setattr(FixedFraming, "cut", cut)
    assert "not what was sent" in found("framing")


def test_media_time_that_does_not_add_up_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def skip(self: MediaTime, start_ns: int, discarded_ns: int) -> tuple[int, bool]:
        gap, overlap = right(self, start_ns, discarded_ns)
        return gap + overlap, overlap

    right = MediaTime.skip
    monkeypatch.setattr(MediaTime, "skip", skip)
    assert "media time does not add up" in found("audiohook2")


def test_a_part_that_is_not_signed_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def value(message: Message, authority: str, name: str) -> str | None:
        return "/" if name == REQUEST_TARGET else right(message, authority, name)

    right = components._value
    monkeypatch.setattr(components, "_value", value)  # both halves sign any target alike
    assert "let in with something that nobody signed" in found("signature")


def test_a_port_from_a_wrong_place_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proxy_protocol, "_PORT_BYTES", 1)
    assert found("proxy_protocol").startswith("AssertionError in tests/fuzz/targets/proxy_protocol.py")


# The harness


def target_of(check: Callable[[bytes], object]) -> Target:
    return Target("made", lambda: [[b"abc", b"def"], [b"xyz"]], lambda data: check(data) and None)


def reason_of(check: Callable[[bytes], object]) -> str:
    failure = examine(target_of(check), b"abc")
    return "" if failure is None else failure.kind


def test_what_is_wrong_with_an_input(monkeypatch: pytest.MonkeyPatch) -> None:
    def endless(_data: bytes) -> None:
        while True:
            try:
                len(str(1))
            except Exception:
                pass

    monkeypatch.setattr(harness, "STUCK_SECONDS", 0.05)
    assert reason_of(lambda data: None) == ""
    assert reason_of(lambda data: 1 // 0).startswith("ZeroDivisionError in tests/fuzz/test_fuzz_short.py:")
    assert reason_of(endless) == "stuck"
    assert reason_of(lambda data: bytes(harness.PEAK_BYTES + 1)) == "large"


def test_a_process_that_grows_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    leaked: list[bytes] = []
    monkeypatch.setattr(harness, "WARM_INPUTS", 10)
    monkeypatch.setattr(harness, "PEAK_EVERY", 1 << 30)
    bytes_so_far = iter(range(0, 1 << 40, 1 << 20))
    monkeypatch.setattr(harness, "_most_bytes", lambda: next(bytes_so_far) + len(leaked))
    failure = fuzz(target_of(lambda data: leaked.append(data)), [], SEED, lambda so_far, _: so_far < 1000).failure
    assert failure is not None
    assert failure.kind == "growth"


def test_a_failure_is_made_small() -> None:
    def check(data: bytes) -> None:
        if b"\x00" in data and b"y" in data:
            raise ValueError(data)

    failure = fuzz(target_of(check), [bytes(500) + b"y" + bytes(500)], SEED, lambda so_far, _: so_far < 100).failure
    assert failure is not None
    assert sorted(failure.data) == [0, ord("y")]


def test_the_same_seed_makes_the_same_inputs() -> None:
    def inputs_of(seed: int) -> list[bytes]:
        seen: list[bytes] = []
        fuzz(target_of(seen.append), [], seed, lambda so_far, _: so_far < 300)
        return seen

    assert inputs_of(SEED) == inputs_of(SEED)
    assert inputs_of(SEED) != inputs_of(SEED + 1)
    assert len(set(inputs_of(SEED))) > 100


def test_an_input_is_kept_by_its_content(tmp_path: Path) -> None:
    path = keep("request", b"once failed", tmp_path)
    assert keep("request", b"once failed", tmp_path) == path
    assert kept("request", tmp_path) == [b"once failed"]
    assert kept("frames", tmp_path) == []


def test_a_random_cut_loses_nothing() -> None:
    for size in (0, 1, 2, 50, 5000):
        data = bytes(range(256)) * 20
        pieces = random_cut(data[:size], chance(data))
        assert b"".join(pieces) == data[:size]
        assert all(pieces)
