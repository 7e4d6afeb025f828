"""Messages made to hurt: too long, in too many pieces, nested too deep, with numbers too large. Each gets the answer
that the documents say, the worker's memory stays what it was, and the calls beside it on that worker lose nothing.
"""

import contextlib
import json
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest

import audiohook
from audiohook.codec import pcmu
from audiohook.session import audiohook2_messages as wire
from audiohook.wire.client import masked_frame
from audiohook.wire.frames import CloseReceived, Pong
from tests.process.bystanders import Bystanders
from tests.process.footprint import MEBIBYTE, Footprint
from tests.support.daemon import Daemon
from tests.support.genesys import BINARY, MASK, TEXT, Genesys
from tests.support.peer import PACKET_FRAMES, call, decoded, packets_of

CONTINUATION, PING = 0x0, 0x9
SLOTS = 16
MANY = 100_000
V2_LIMIT, CONTEXT_LIMIT = 65_536, MEBIBYTE
TOO_LARGE = 10 * MEBIBYTE
FLAT_BYTES = 8 * MEBIBYTE
DIGITS = "1" * 10_000


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    """One worker, so that every call shares it; rings that hold all that a bystander says."""
    with Daemon("server.workers=1", f"memory.streams={SLOTS}", "memory.ring_seconds=60") as running:
        yield running.wait_ready()


@pytest.fixture
def bystanders(daemon: Daemon) -> Iterator[Bystanders]:
    with Bystanders(daemon) as talking:
        yield talking


def worker(daemon: Daemon) -> int:
    (pid,) = daemon.workers().values()
    return pid


def noise(frames: int) -> np.ndarray:
    return np.random.default_rng(frames).integers(-30_000, 30_000, (frames, 2)).astype(np.int16)


def everything(stream: audiohook.Stream) -> np.ndarray:
    return np.concatenate([block.samples.copy() for block in stream.blocks(800, start="oldest")])


def close_code(genesys: Genesys) -> int | None:
    """Return the code of the close frame that the daemon sends without having said `disconnect` or `closed`."""
    while True:
        for message in genesys.messages:
            if isinstance(message, CloseReceived):
                assert not {"Disconnect", "Closed"} & {type(said).__name__ for said in genesys.client.received}
                return message.code
        genesys.turn()


def fragments(payload: bytes, opcode: int, count: int) -> bytes:
    """Return a message in `count` frames: one byte each while there are some, then empty ones; the last is empty."""
    first = masked_frame(payload[:1], MASK, opcode, fin=False)
    rest = [masked_frame(bytes([byte]), MASK, CONTINUATION, fin=False) for byte in payload[1:]]
    empty = masked_frame(b"", MASK, CONTINUATION, fin=False)
    return first + b"".join(rest) + empty * (count - len(payload) - 1) + masked_frame(b"", MASK, CONTINUATION)


# ------------------------------------------------------------------------------------------------ too long


def test_audiohook2_takes_65536_bytes_and_no_more(daemon: Daemon, bystanders: Bystanders) -> None:
    with Genesys(daemon.address) as genesys:
        genesys.opened()
        genesys.say(noise(V2_LIMIT // 2))
        genesys.socket.sendall(masked_frame(bytes(V2_LIMIT + 1), MASK, BINARY))
        assert close_code(genesys) == 1009
        stream = daemon.hub.open(call_id=genesys.caller.conversation_id)
        daemon.wait(lambda: stream.over, "the end of the stream")
        assert (stream.end_reason, stream.close_code) == ("message_too_large", 1009)
        assert stream.totals.length == V2_LIMIT // 2
        assert np.array_equal(everything(stream), genesys.sent)
    bystanders.check()


def test_context_takes_65537_bytes_and_up_to_a_mebibyte(daemon: Daemon, bystanders: Bystanders) -> None:
    with call(daemon.address) as peer:
        stream = daemon.hub.open(call_id=peer.call_id)
        peer.send_packets(packets_of(1)[:5])
        # As packets these are none, so each is concealed; as messages nothing is wrong with them.
        for size in (V2_LIMIT + 1, CONTEXT_LIMIT):
            peer.send_frame(bytes([0xFF]) * size, BINARY)
        daemon.wait(lambda: stream.totals.concealed == 2 * PACKET_FRAMES, "the concealed packets")
        peer.send(masked_frame(bytes(CONTEXT_LIMIT + 1), MASK))
        assert peer.read_close()[0] == 1009
        assert (stream.end_reason, stream.close_code) == ("message_too_large", 1009)
        assert stream.totals.packets == 7
    bystanders.check()


def attempt(daemon: Daemon, number: int, payload: bytes) -> None:
    """Announce a message of 10 MiB, in one of six ways; see 1009 before a byte of it was sent, then send it anyway."""
    opcode = TEXT if number % 3 == 2 else BINARY
    if number % 2:
        with Genesys(daemon.address) as genesys:
            if number % 3:
                genesys.opened()
            else:
                assert genesys.upgrade().accepted
            genesys.socket.sendall(header(opcode))
            assert close_code(genesys) == 1009
            send_anyway(genesys.socket.sendall, payload)
    else:
        with call(daemon.address) as peer:
            peer.send(header(opcode))
            assert peer.read_close()[0] == 1009
            send_anyway(peer.send, payload)


def header(opcode: int) -> bytes:
    return bytes([0x80 | opcode, 0xFF]) + TOO_LARGE.to_bytes(8, "big") + MASK


def send_anyway(send: Callable[[bytes], Any], payload: bytes) -> None:
    with contextlib.suppress(ConnectionError):
        send(payload)


def test_ten_mebibytes_are_refused_by_their_header(daemon: Daemon, bystanders: Bystanders) -> None:
    """Two hundred attempts, a tenth of them with all of their 10 MiB sent after the refusal."""
    whole, part = bytes(TOO_LARGE), bytes(MEBIBYTE // 4)
    for number in range(2 * SLOTS):
        attempt(daemon, number, part)  # until every slot has been used, and Python's own memory has settled
    before, footprint = daemon.counter("message_too_large"), Footprint(worker(daemon))
    for number in range(200):
        attempt(daemon, number, part if number % 10 else whole)
    assert daemon.counter("message_too_large") == before + 200
    assert footprint.growth_bytes < FLAT_BYTES
    assert footprint.peak_growth_bytes < FLAT_BYTES
    bystanders.check()


# ------------------------------------------------------------------------------------------------ too many pieces


def test_a_hundred_thousand_fragments_are_one_message(daemon: Daemon, bystanders: Bystanders) -> None:
    """RFC 6455 section 5.4 sets no limit to them, and none of them need have a payload."""
    footprint = Footprint(worker(daemon))
    with Genesys(daemon.address) as genesys:
        genesys.opened()
        audio = pcmu.encode(noise(8000))
        genesys.socket.sendall(fragments(audio, BINARY, MANY))
        genesys.client.audio_sent(8000)
        genesys.client.say(wire.Ping, wire.PingParameters())
        genesys.socket.sendall(fragments(genesys.client.texts.pop().encode(), TEXT, MANY))
        genesys.until("pong")
        genesys.close()
        stream = daemon.hub.open(call_id=genesys.caller.conversation_id)
        assert np.array_equal(everything(stream), pcmu.DECODED[np.frombuffer(audio, np.uint8)].reshape(-1, 2))
    with call(daemon.address) as peer:
        good = packets_of(2)
        peer.send(fragments(good[0], BINARY, MANY))
        peer.send(
            fragments(b"\xff" * (MANY - 1), BINARY, MANY)
        )  # 99,999 bytes: too long for a packet, not for a message
        peer.send_packets(good[1:10])
        assert peer.close() == 1000
        stream = daemon.hub.open(call_id=peer.call_id)
        assert (stream.totals.packets, stream.totals.concealed) == (11, PACKET_FRAMES)
        assert stream.totals.decoded == 10 * PACKET_FRAMES
        assert np.array_equal(stream.latest(60).samples[:PACKET_FRAMES, 0], decoded(good[:1]))
    assert footprint.growth_bytes < FLAT_BYTES
    assert footprint.peak_growth_bytes < FLAT_BYTES
    bystanders.check()


def test_fragments_are_refused_where_their_sum_passes_the_limit(daemon: Daemon, bystanders: Bystanders) -> None:
    with Genesys(daemon.address) as genesys:
        genesys.opened()
        genesys.socket.sendall(fragments(bytes(V2_LIMIT), TEXT, MANY)[:-6])  # all of it but its end
        genesys.socket.sendall(masked_frame(b"", MASK, PING))
        while not any(isinstance(message, Pong) for message in genesys.messages):
            genesys.turn()
        genesys.socket.sendall(masked_frame(b"x", MASK, CONTINUATION, fin=False))
        assert close_code(genesys) == 1009
    with call(daemon.address) as peer:
        half = bytes(CONTEXT_LIMIT // 2)
        peer.send(masked_frame(half, MASK, fin=False) + masked_frame(half, MASK, CONTINUATION, fin=False))
        peer.send(masked_frame(b"", MASK, CONTINUATION, fin=False) * MANY)
        peer.send(masked_frame(b"x", MASK, CONTINUATION))
        assert peer.read_close()[0] == 1009
    bystanders.check()


# ------------------------------------------------------------------------------------------------ texts

NOT_JSON = "Client Error: Text message not valid JSON"
NOT_WELL_FORMED = "Client Error: Message not a well-formed client message"
BAD_PARAMETERS = "Client Error: Invalid Message: Invalid/missing parameters"
OTHER_SESSION = "Client Error: Session identifier mismatch"
PONG, COUNTED = "pong", ""


def ping(genesys: Genesys, **fields: str) -> str:
    """Return the peer's next ping with some fields replaced or added: raw JSON each, as no encoder would write it."""
    genesys.client.say(wire.Ping, wire.PingParameters())
    usual = json.loads(genesys.client.texts.pop())
    whole = {**{name: json.dumps(value) for name, value in usual.items()}, **fields}
    return "{" + ",".join(f'"{name}":{value}' for name, value in whole.items()) + "}"


def deep(levels: int) -> str:
    return "[" * levels + "]" * levels


def deep_object(levels: int) -> str:
    return '{"a":' * levels + "0" + "}" * levels


def discarded(start: str, length: str) -> dict[str, str]:
    return {"type": '"discarded"', "parameters": f'{{"start":"{start}","discarded":"{length}"}}'}


NUMBERS = {
    "digits": DIGITS,
    "negative": "-" + DIGITS,
    "decimals": "1." + DIGITS,
    "exponent": "1e400",
    "digits of exponent": "1e" + DIGITS,
}

NESTED: list[tuple[str, dict[str, str], str]] = [
    ("unknown field", {"x": deep(32_000)}, NOT_JSON),
    ("unknown field of objects", {"x": deep_object(10_000)}, NOT_JSON),
    ("parameters", {"parameters": deep(32_000)}, NOT_JSON),
    ("position", {"position": deep(32_000)}, NOT_JSON),
    ("shallow enough", {"x": deep(500)}, PONG),
]

NUMERIC: list[tuple[str, dict[str, str], str]] = [
    *((f"{field}: {name}", {field: number}, answer) for field, answer in (
        ("seq", NOT_WELL_FORMED), ("serverseq", NOT_WELL_FORMED), ("id", NOT_WELL_FORMED), ("version", NOT_WELL_FORMED),
        ("type", NOT_WELL_FORMED), ("position", PONG), ("parameters", BAD_PARAMETERS), ("x", PONG),
    ) for name, number in NUMBERS.items()),
    ("id as text", {"id": f'"{DIGITS}"'}, OTHER_SESSION),
    ("position as text", {"position": f'"PT{DIGITS}S"'}, PONG),
    ("position with decimals", {"position": f'"PT0.{DIGITS}S"'}, PONG),
    ("rtt", {"parameters": f'{{"rtt":"PT{DIGITS}S"}}'}, PONG),
    ("error code", {"type": '"error"', "parameters": f'{{"code":{DIGITS},"message":""}}'}, COUNTED),
    ("retryAfter", {"type": '"error"', "parameters": f'{{"code":429,"retryAfter":"PT{DIGITS}S"}}'}, COUNTED),
    ("discarded", discarded("PT0S", f"PT{DIGITS}S"), BAD_PARAMETERS),
    ("start", discarded(f"PT{DIGITS}S", "PT1S"), BAD_PARAMETERS),
]  # fmt: skip


def say_and_check(daemon: Daemon, text: Callable[[Genesys], str], answer: str, name: str = "") -> None:
    """Say something in an open session: it is answered, or taken without an answer, or ends the session in words."""
    with Genesys(daemon.address) as genesys:
        genesys.opened()
        genesys.say(noise(160))
        stream = daemon.hub.open(call_id=genesys.caller.conversation_id)
        genesys.socket.sendall(masked_frame(text(genesys).encode(), MASK, TEXT))
        if answer in (PONG, COUNTED):
            if answer is PONG:
                genesys.until("pong")
            genesys.say(noise(320))
            genesys.close()
            assert not any(isinstance(message, wire.Disconnect) for message in genesys.client.received)
            assert (stream.end_reason, stream.totals.length) == ("peer_closed", 480), name
        else:
            genesys.until("disconnect")
            genesys.until("closed")
            (said,) = [message for message in genesys.client.received if isinstance(message, wire.Disconnect)]
            assert (said.parameters.reason, said.parameters.info) == ("error", answer), name
            assert (stream.end_reason, stream.totals.length) == ("bad_message", 160), name


def test_numbers_of_ten_thousand_digits(daemon: Daemon, bystanders: Bystanders) -> None:
    for _ in range(2):
        footprint = Footprint(worker(daemon))
        for name, fields, answer in NUMERIC:
            say_and_check(daemon, partial(ping, **fields), answer, name)
    assert footprint.growth_bytes < FLAT_BYTES
    bystanders.check()


def test_nesting_as_deep_as_a_message_can_be(daemon: Daemon, bystanders: Bystanders) -> None:
    for _ in range(3):
        footprint = Footprint(worker(daemon))
        for name, fields, answer in NESTED:
            say_and_check(daemon, partial(ping, **fields), answer, name)
        for text in ('{"a":' * (V2_LIMIT // 5), deep_object(10_000)):
            say_and_check(daemon, lambda _, text=text: text, NOT_JSON)
        for text in ("[" * V2_LIMIT, deep(V2_LIMIT // 2)):  # no object: not looked into
            say_and_check(daemon, lambda _, text=text: text, NOT_WELL_FORMED)
    assert footprint.growth_bytes < FLAT_BYTES
    bystanders.check()


def test_context_ignores_texts_whatever_is_in_them(daemon: Daemon, bystanders: Bystanders) -> None:
    before = daemon.counter("text_ignored")
    texts = [deep(MANY), "[" * CONTEXT_LIMIT, deep_object(MANY), *NUMBERS.values(), '{"type":' + DIGITS + "}"]
    footprint = Footprint(worker(daemon))
    with call(daemon.address) as peer:
        for text in texts:
            peer.send_frame(text.encode(), TEXT)
            peer.send_packets(packets_of(1)[:1])
        assert peer.close() == 1000
        assert daemon.hub.open(call_id=peer.call_id).totals.packets == len(texts)
    assert daemon.counter("text_ignored") == before + len(texts)
    assert footprint.growth_bytes < FLAT_BYTES
    bystanders.check()


def test_nesting_of_a_hundred_thousand_levels_where_messages_may_be_that_long(
    start_daemon: Callable[..., Daemon],
) -> None:
    daemon = start_daemon("server.workers=1", f"audiohook2.max_message_bytes={CONTEXT_LIMIT}")
    with Bystanders(daemon) as bystanders:
        for fields in ({"x": deep(MANY)}, {"x": deep_object(MANY)}, {"parameters": deep(MANY)}):
            say_and_check(daemon, partial(ping, **fields), NOT_JSON)
        with Genesys(daemon.address) as genesys:
            assert genesys.upgrade().accepted
            (opening,) = genesys.client.texts
            genesys.client.texts.clear()
            deep_open = opening.replace('"parameters":{', f'"parameters":{{"customConfig":{deep(MANY)},')
            assert deep_open != opening
            genesys.socket.sendall(masked_frame(deep_open.encode(), MASK, TEXT))
            genesys.until("disconnect").until("closed")
        bystanders.check()
