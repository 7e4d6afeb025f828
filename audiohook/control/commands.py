"""What desk, supervisor and workers say to one another: records of fixed size, on SOCK_SEQPACKET lines.

PURE: bytes in, values out, and back. A line is a socket pair of the supervisor with one child. Down and up it carries

    command   who wants what done to which stream (slot, epoch), or to the service as a whole; behind an `EVENT`, and
              only there, an opaque payload
    reply     what became of the command with this ticket

so whoever is in the middle checks a length and a few small numbers and parses nothing else. A ticket is the sender's
own: it means nothing beyond its line. Records keep their bounds, and both ends are of one installation; the version
byte is there because a reload lets workers of the old code stay beside a supervisor of the new.
"""

import struct
from enum import IntEnum
from typing import Any, Self

import msgspec

VERSION = 1
_COMMAND, _REPLY = 1, 2

_COMMAND_RECORD = struct.Struct("<BBBxIQQqII")
"""version, kind, verb, slot, ticket, epoch, argument, uid, pid."""

TEXT_BYTES = 440
_REPLY_RECORD = struct.Struct(f"<BBBxIQq{TEXT_BYTES}s")
"""version, kind, status, 0, ticket, value, text padded with NUL."""

MAX_PAYLOAD_BYTES = 60_000
MAX_RECORD_BYTES = max(_COMMAND_RECORD.size + MAX_PAYLOAD_BYTES, _REPLY_RECORD.size)
READ_BYTES = MAX_RECORD_BYTES + 1
"""What to read at once: a record that fills it is too long, else it would be cut and look whole."""

LINE_BUFFER_BYTES = 262_144
"""Asked for on both ends of a line: room for a few events of the largest size (net.core.wmem_max may allow less)."""


class Verb(IntEnum):
    """What can be asked for. `argument` is 0 where nothing is said."""

    PAUSE = 1
    RESUME = 2
    DISCONNECT = 3
    MASK = 4
    """`argument`: how far back, in nanoseconds of media; the reply's `value` is the first masked frame."""
    UNMASK = 5
    HOLD = 6
    UNHOLD = 7
    END = 8
    EVENT = 9
    """Send the payload, one JSON object with `type` and `data`, to the peer."""
    TAKEOVER = 10
    """Only from worker to worker: close this stream, its peer has come back on a newer connection."""
    SCALE = 11
    """For the supervisor itself: have `argument` workers; the reply's `value` is how many there are to be."""

    RELOAD = 12
    """For the supervisor itself: load code and configuration anew; the reply's `value` is the attempt's number."""
    OUTCOME = 13
    """What became of the reload `argument`: `value` is the generation that it brought, 0 while it is under way.

    -1 where it had only settings to change: the generation that there was goes on.
    """


SERVICE_VERBS = frozenset({Verb.SCALE, Verb.RELOAD, Verb.OUTCOME})
"""Verbs that are for no stream: slot and epoch are 0, and the supervisor answers."""


class Status(IntEnum):
    """What became of a command."""

    OK = 1
    """It was carried out."""
    REFUSED = 2
    """It could be done, and was not; the text says why."""
    NOT_AVAILABLE = 3
    """Nobody there can do this."""
    GONE = 4
    """The stream is over."""


class Reply(msgspec.Struct, frozen=True):
    """The answer to one command. `text` is one short line; what is longer than TEXT_BYTES is cut."""

    ticket: int
    status: Status
    value: int = 0
    text: str = ""

    def renumbered(self, ticket: int) -> Self:
        return msgspec.structs.replace(self, ticket=ticket)


class Command(msgspec.Struct, frozen=True):
    """One command for one stream, or for the service. `uid` and `pid` are of whoever asked at the hub (SO_PEERCRED)."""

    ticket: int
    verb: Verb
    slot: int
    epoch: int
    argument: int = 0
    uid: int = 0
    pid: int = 0
    payload: bytes = b""

    def renumbered(self, ticket: int) -> Self:
        return msgspec.structs.replace(self, ticket=ticket)

    def done(self, value: int = 0, text: str = "") -> Reply:
        return Reply(self.ticket, Status.OK, value, text)

    def refused(self, text: str) -> Reply:
        return Reply(self.ticket, Status.REFUSED, 0, text)

    def not_available(self, text: str) -> Reply:
        return Reply(self.ticket, Status.NOT_AVAILABLE, 0, text)

    def gone(self, text: str = "the stream is over") -> Reply:
        return Reply(self.ticket, Status.GONE, 0, text)


def command_event(command: Command) -> dict[str, Any]:
    """Return the fields of the event `command`, which says who had what done."""
    fields: dict[str, Any] = {"verb": command.verb.name.lower(), "uid": command.uid, "pid": command.pid}
    if command.argument:
        fields["argument"] = command.argument
    return fields


def encode_command(command: Command) -> bytes:
    """Return the record. ValueError for a payload that no line takes, struct.error for a number that does not fit."""
    if not _payload_fits(command.verb, len(command.payload)):
        raise ValueError(f"{command.verb.name} with a payload of {len(command.payload)} bytes")
    head = _COMMAND_RECORD.pack(
        VERSION,
        _COMMAND,
        command.verb,
        command.slot,
        command.ticket,
        command.epoch,
        command.argument,
        command.uid,
        command.pid,
    )
    return head + command.payload


def encode_reply(reply: Reply) -> bytes:
    text = reply.text.encode("utf-8", "replace")[:TEXT_BYTES]
    return _REPLY_RECORD.pack(VERSION, _REPLY, reply.status, 0, reply.ticket, reply.value, text)


def decode(record: bytes) -> Command | Reply | None:
    """Return what a record says, None if it is none. Never raises, whatever the other side sent."""
    if len(record) < 3 or record[0] != VERSION:
        return None
    if record[1] == _COMMAND:
        return _decode_command(record)
    return _decode_reply(record) if record[1] == _REPLY else None


def _decode_command(record: bytes) -> Command | None:
    length = len(record) - _COMMAND_RECORD.size
    verb = _VERBS.get(record[2])
    if verb is None or length < 0 or not _payload_fits(verb, length):
        return None
    _, _, _, slot, ticket, epoch, argument, uid, pid = _COMMAND_RECORD.unpack_from(record)
    return Command(ticket, verb, slot, epoch, argument, uid, pid, record[_COMMAND_RECORD.size :])


def _decode_reply(record: bytes) -> Reply | None:
    status = _STATUSES.get(record[2])
    if status is None or len(record) != _REPLY_RECORD.size:
        return None
    _, _, _, _, ticket, value, padded = _REPLY_RECORD.unpack(record)
    text = padded.rstrip(b"\0").decode("utf-8", "replace")
    # It ends on somebody's terminal, and a worker's words are only as good as the worker.
    return Reply(ticket, status, value, "".join(one if one.isprintable() else " " for one in text))


def _payload_fits(verb: Verb, length_bytes: int) -> bool:
    return 1 <= length_bytes <= MAX_PAYLOAD_BYTES if verb is Verb.EVENT else length_bytes == 0


_VERBS = {int(verb): verb for verb in Verb}
_STATUSES = {int(status): status for status in Status}
