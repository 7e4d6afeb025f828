"""`audiohook-load probe`: what Genesys does when an administrator activates an integration, and what was wrong.

A real handshake and a real `open` in which conversation and participant are the nil UUID, `close` right behind
`opened`, no audio: docs/load.md lists the steps. Where keys are used, two more connections show that a wrong key and a
forged signature are kept out. The client half (`session/audiohook2_client.py`) finds what the server must not say; here
it is put into sentences.
"""

import time
import uuid
from collections.abc import Iterator

import msgspec

from audiohook.load.conversation import converse
from audiohook.load.credentials import Credentials
from audiohook.load.line import Line, LineError
from audiohook.load.target import Target
from audiohook.session.audiohook2_client import CLOSE_WAIT_NS, OPEN_WAIT_NS, AudioHook2Client, Caller, probe
from audiohook.session.audiohook2_client import upgrade_headers as names_of
from audiohook.session.audiohook2_messages import Disconnect, Opened
from audiohook.units import NS_PER_MS, NS_PER_S
from audiohook.wire.client import UpgradeAnswer
from audiohook.wire.frames import CloseReceived

GOODBYE_WITHIN_NS = 5 * NS_PER_S
WRONG_KEY = "bm9ib2R5LWhhcy10aGlzLWtleQ=="
WRONG_SECRET = b"nobody signs with this"

STATUSES = {
    400: "a header is missing or malformed, in the server's view",
    401: "not authorized: API key, organization or client secret differ from the server's, or a clock is off",
    403: "the address that this comes from is not allowed",
    404: "there is no AudioHook at this path",
    408: "the server did not get the request in time",
    426: "the server wants another version of WebSocket than 13",
    431: "the server finds the headers too large",
    502: "the proxy does not reach the daemon",
    503: "the server takes no calls now: it is full, or about to stop",
    504: "the proxy gets no answer from the daemon",
}

FAULTS = {
    "message too large": "a message is longer than 64,000 bytes",
    "not a server message": "a message is not one of the protocol (unknown type or field, or one is missing)",
    "seq out of turn": "seq does not count 1, 2, 3 …",
    "another session's id": "id is not the session's",
    "clientseq of the future": "clientseq is more than was sent",
    "closed that answers no close": "clientseq of closed is not the number of the close that it answers",
    "opened out of turn": "opened comes twice, or is not message 1: nothing may be said before it",
    "media that were not offered": "media in opened are not, word for word, one of the offers",
    "audio for a client that only listens": "audio is sent to a client that only listens",
}
"""The client half's words, for an administrator; what is not here is clear as it is."""


class Step(msgspec.Struct, frozen=True):
    """One thing that was looked at. `verdict` is "ok", "wrong" or "note" (which is neither)."""

    verdict: str
    text: str


def run_probe(target: Target, credentials: Credentials, *, keys: bool) -> Iterator[Step]:
    """Probe `target`; yield what was found, step by step. `keys`: these are a real key's, so wrong ones must not do."""
    if not target.tls:
        yield Step("note", "this is not TLS; Genesys calls wss:// on port 443 only, so probe the public name as well")
    well = True
    for step in _guarded(_session(target, credentials)):
        well = well and step.verdict != "wrong"
        yield step
    if not well or not keys:
        return
    yield from _guarded(_kept_out(target, msgspec.structs.replace(credentials, api_key=WRONG_KEY), "a wrong key"))
    if credentials.secret:
        forged = msgspec.structs.replace(credentials, secret=WRONG_SECRET)
        yield from _guarded(_kept_out(target, forged, "a forged signature"))
        unsigned = msgspec.structs.replace(credentials, secret=b"")
        yield from _guarded(_kept_out(target, unsigned, "no signature"))


def _guarded(steps: Iterator[Step]) -> Iterator[Step]:
    try:
        yield from steps
    except LineError as error:
        yield Step("wrong", str(error))


def _caller(credentials: Credentials) -> Caller:
    return probe(str(uuid.uuid4()), credentials.organization, str(uuid.uuid4()))


def _session(target: Target, credentials: Credentials) -> Iterator[Step]:
    with Line(target) as line:
        tls = f", {line.tls_version}, certificate trusted" if line.tls_version else ""
        yield Step("ok", f"connected to {target.host}:{target.port}{tls}")
        caller = _caller(credentials)
        answer = line.upgrade(credentials.signed(target, names_of(caller, credentials.api_key)))
        yield _upgraded(answer, bool(credentials.secret))
        if not answer.accepted:
            return
        client = AudioHook2Client(caller, time.monotonic_ns())
        begun_ns = time.monotonic_ns()
        yield from _opened(line, client, begun_ns)
        if not client.opened:
            return
        client.close("end", time.monotonic_ns())
        yield from _closed(line, client)


def _upgraded(answer: UpgradeAnswer, signed: bool) -> Step:
    if answer.accepted:
        return Step("ok", f"the upgrade was accepted ({'signed' if signed else 'not signed'})")
    if answer.status == 101:
        return Step("wrong", "101, but not a correct one: Sec-WebSocket-Accept, Upgrade, Connection, or an extension")
    if answer.status == 0:
        return Step("wrong", "what came is not HTTP")
    meaning = STATUSES.get(answer.status, "not what is wanted: a proxy that does not pass WebSocket upgrades on?")
    return Step("wrong", f"the upgrade was answered with {answer.status}: {meaning}")


def _opened(line: Line, client: AudioHook2Client, begun_ns: int) -> Iterator[Step]:
    converse(line, client, lambda: client.opened or _disconnect(client) is not None, begun_ns + OPEN_WAIT_NS)
    took_ms = (time.monotonic_ns() - begun_ns) / NS_PER_MS
    yield from _faults(client)
    disconnect = _disconnect(client)
    if client.opened:
        verdict = "ok" if client.faults == [] else "note"
        yield Step(verdict, f"opened after {took_ms:.0f} ms (5,000 are allowed)")
        yield _media(client)
    elif disconnect is not None:
        info = disconnect.parameters.info
        why = f": {info!r}" if isinstance(info, str) else ""
        yield Step("wrong", f"open was answered with disconnect {disconnect.parameters.reason}{why}")
    elif line.ended:
        yield Step("wrong", "the connection ended before opened came: a server must answer open, or disconnect")
    else:
        yield Step("wrong", "open was not answered with opened within 5 s: Genesys gives up, and tries again")


def _media(client: AudioHook2Client) -> Step:
    if client.media is None:
        return Step("note", "no media were chosen: the session is valid, and no audio will come")
    return Step("ok", f"media: {client.media.format}, {' and '.join(client.media.channels)}, 8,000 Hz")


def _closed(line: Line, client: AudioHook2Client) -> Iterator[Step]:
    known = len(client.faults)
    begun_ns = time.monotonic_ns()
    converse(line, client, lambda: client.finished, begun_ns + CLOSE_WAIT_NS)
    yield from _faults(client, known)
    if not client.finished:
        how = "the connection ended instead" if line.ended else "it did not come within 10 s"
        yield Step("wrong", f"close must be answered with closed: {how}")
        return
    yield Step("ok", f"closed after {(time.monotonic_ns() - begun_ns) / NS_PER_MS:.0f} ms (10,000 are allowed)")
    line.send_close(None)
    message = line.receive(time.monotonic_ns() + GOODBYE_WITHIN_NS)
    if isinstance(message, CloseReceived):
        yield Step("ok", "the WebSocket was closed by both sides")
    else:
        yield Step("note", "our close frame was not answered with one: untidy, and nobody minds")


def _faults(client: AudioHook2Client, known: int = 0) -> Iterator[Step]:
    for fault in client.faults[known:]:
        kind, colon, detail = fault.partition(":")
        yield Step("wrong", FAULTS.get(kind, kind) + colon + detail)


def _disconnect(client: AudioHook2Client) -> Disconnect | None:
    return next((message for message in client.received if isinstance(message, Disconnect)), None)


def _kept_out(target: Target, credentials: Credentials, what: str) -> Iterator[Step]:
    """Connect with credentials that must not do."""
    with Line(target) as line:
        caller = _caller(credentials)
        answer = line.upgrade(credentials.signed(target, names_of(caller, credentials.api_key)))
        if answer.status == 401:
            yield Step("ok", f"{what} is refused with 401")
            return
        if not answer.accepted:
            yield Step("note", f"{what} is refused with {answer.status}; 401 is usual")
            return
        client = AudioHook2Client(caller, time.monotonic_ns())
        converse(line, client, lambda: bool(client.received), time.monotonic_ns() + OPEN_WAIT_NS)
        disconnect = _disconnect(client)
        if disconnect is not None and disconnect.parameters.reason == "unauthorized":
            yield Step("ok", f"{what} is refused with disconnect unauthorized")
        elif any(isinstance(message, Opened) for message in client.received):
            yield Step("wrong", f"{what} is let in: anybody can place calls here")
        else:
            yield Step("wrong", f"{what} is neither let in nor refused with 401")
