"""The records of the command lines: what is sent comes back the same, and anything else is None."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiohook.control.commands import (
    MAX_PAYLOAD_BYTES,
    MAX_RECORD_BYTES,
    READ_BYTES,
    TEXT_BYTES,
    Command,
    Reply,
    Status,
    Verb,
    command_event,
    decode,
    encode_command,
    encode_reply,
)

U64 = st.integers(0, (1 << 64) - 1)
U32 = st.integers(0, (1 << 32) - 1)
I64 = st.integers(-(1 << 63), (1 << 63) - 1)
PLAIN = st.sampled_from([verb for verb in Verb if verb is not Verb.EVENT])

COMMANDS = st.builds(Command, U64, PLAIN, U32, U64, I64, U32, U32) | st.builds(
    Command, U64, st.just(Verb.EVENT), U32, U64, I64, U32, U32, st.binary(min_size=1, max_size=300)
)
TEXTS = st.text(st.characters(categories=["L", "N", "P", "Zs"], include_characters=" "), max_size=40)
REPLIES = st.builds(Reply, U64, st.sampled_from(Status), I64, TEXTS)


@given(COMMANDS)
def test_a_command_comes_back_as_it_was(command: Command) -> None:
    assert decode(encode_command(command)) == command


@given(REPLIES)
def test_a_reply_comes_back_as_it_was(reply: Reply) -> None:
    expected = "".join(one if one.isprintable() else " " for one in reply.text)
    assert decode(encode_reply(reply)) == Reply(reply.ticket, reply.status, reply.value, expected)


@given(st.binary(max_size=400) | st.binary(max_size=300).map(lambda rest: b"\x01\x01\x09" + rest))
def test_whatever_comes_is_read_without_raising(record: bytes) -> None:
    said = decode(record)
    assert said is None or isinstance(said, Command | Reply)


@given(COMMANDS, st.data())
def test_a_record_of_another_length_is_none(command: Command, data: st.DataObject) -> None:
    record = encode_command(command)
    head = len(record) - len(command.payload)
    assert decode(record[: data.draw(st.integers(0, head - 1))]) is None
    if command.verb is Verb.EVENT:
        assert decode(record[:head]) is None, "an event without a payload"
        assert decode(record + bytes(MAX_PAYLOAD_BYTES)) is None
    else:
        assert decode(record + b"x") is None


def test_the_largest_payload_fits_and_one_byte_more_does_not() -> None:
    largest = Command(1, Verb.EVENT, 2, 3, payload=bytes(MAX_PAYLOAD_BYTES))
    record = encode_command(largest)
    assert len(record) == MAX_RECORD_BYTES < READ_BYTES
    assert decode(record) == largest
    assert decode(record + b"x") is None


@pytest.mark.parametrize(
    "command",
    [
        Command(1, Verb.EVENT, 2, 3),
        Command(1, Verb.EVENT, 2, 3, payload=bytes(MAX_PAYLOAD_BYTES + 1)),
        Command(1, Verb.PAUSE, 2, 3, payload=b"x"),
    ],
    ids=["none", "too long", "not its verb's"],
)
def test_a_payload_that_no_line_takes_is_not_sent(command: Command) -> None:
    with pytest.raises(ValueError, match="payload"):
        encode_command(command)


@pytest.mark.parametrize("fields", [{"slot": 1 << 32}, {"slot": -1}, {"ticket": 1 << 64}, {"argument": 1 << 63}])
def test_a_number_that_does_not_fit_is_not_sent(fields: dict[str, int]) -> None:
    with pytest.raises(struct.error):
        encode_command(Command(**{"ticket": 1, "verb": Verb.PAUSE, "slot": 2, "epoch": 3, **fields}))


@pytest.mark.parametrize("index", [0, 1, 2], ids=["version", "kind", "verb or status"])
@pytest.mark.parametrize("record", [encode_command(Command(1, Verb.PAUSE, 2, 3)), encode_reply(Reply(1, Status.OK))])
def test_each_of_the_first_bytes_decides(record: bytes, index: int) -> None:
    assert decode(record) is not None
    for value in (0, 77, 255):
        assert decode(record[:index] + bytes([value]) + record[index + 1 :]) is None
    assert decode(record[:1]) is decode(b"") is None


def test_text_is_cut_at_its_room_and_cannot_move_a_cursor() -> None:
    def told(text: str) -> str:
        reply = decode(encode_reply(Reply(1, Status.REFUSED, 0, text)))
        assert isinstance(reply, Reply)
        return reply.text

    assert told("x" * 1000) == "x" * TEXT_BYTES
    assert told("é" * TEXT_BYTES) == "é" * (TEXT_BYTES // 2)
    assert told("x" + "é" * TEXT_BYTES) == "x" + "é" * (TEXT_BYTES // 2 - 1) + "\N{REPLACEMENT CHARACTER}"
    assert told("a\x1b[2J\nb\x00c") == "a [2J b c"
    assert told("half \ud800 pair") == "half ? pair"


def test_a_command_makes_its_own_replies() -> None:
    command = Command(7, Verb.MASK, 2, 3)
    assert command.done(48_000) == Reply(7, Status.OK, 48_000)
    assert command.refused("no") == Reply(7, Status.REFUSED, 0, "no")
    assert command.not_available("never") == Reply(7, Status.NOT_AVAILABLE, 0, "never")
    assert command.gone() == Reply(7, Status.GONE, 0, "the stream is over")
    assert command.renumbered(9) == Command(9, Verb.MASK, 2, 3)


def test_the_event_of_a_command_says_who_and_what_and_nothing_that_was_said() -> None:
    assert command_event(Command(1, Verb.HOLD, 2, 3, uid=1000, pid=42)) == {"verb": "hold", "uid": 1000, "pid": 42}
    masked = command_event(Command(1, Verb.MASK, 2, 3, argument=5, uid=0, pid=1))
    assert masked == {"verb": "mask", "uid": 0, "pid": 1, "argument": 5}
    spoken = command_event(Command(1, Verb.EVENT, 2, 3, payload=b'{"type":"x","data":"secret"}'))
    assert spoken == {"verb": "event", "uid": 0, "pid": 0}
