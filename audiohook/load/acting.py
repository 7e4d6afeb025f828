"""Carries out a scenario's steps, one connection after another. What comes of it is a `Record`; `judging.py` judges.

Audio is a function of media time: frame f of an `audiohook2` call always carries the same two samples, whatever was
paused, discarded or offered again, so what a stream must hold at frame f is known without asking what was sent. Opus
cannot be cut so; of a `context` connection the packets are kept.
"""

import random
import time
import uuid
from collections.abc import Callable, Sequence
from itertools import accumulate, pairwise
from typing import assert_never

import msgspec
import numpy as np

from audiohook.codec import pcmu
from audiohook.codec.framing_self_delimited import self_delimited
from audiohook.codec.opus import OpusEncoder
from audiohook.load import scenario as steps
from audiohook.load.check import Samples
from audiohook.load.conversation import converse
from audiohook.load.credentials import Credentials
from audiohook.load.errors import LoadError
from audiohook.load.line import Line
from audiohook.load.scenario import Scenario
from audiohook.load.target import Target
from audiohook.session import audiohook2_client, context_client
from audiohook.session.audiohook2_client import CLOSE_WAIT_NS, OPEN_WAIT_NS, AudioHook2Client, Caller
from audiohook.session.audiohook2_media import RATE_HZ
from audiohook.session.audiohook2_messages import ContinuedSession, Disconnect, Event, Pause, Resume, Updated
from audiohook.units import NS_PER_MS, NS_PER_S
from audiohook.wire.frames import CloseReceived

STALE_S = 3600
WRONG_SECRET = b"nobody signs with this"
OPUS_RATE_HZ = 16_000
OPUS_FRAMES = 320
OPUS_BYTES = 60
MAX_BURST_FRAMES = 4 * RATE_HZ
"""64,000 bytes of two channels: the protocol's limit of a message."""

MESSAGES = {"pause": Pause, "resume": Resume, "updated": Updated, "event": Event, "disconnect": Disconnect}


class Connection(msgspec.Struct):
    """One connection: whether a stream must have come of it, and what it has sent."""

    opened: bool = False
    sent_frames: int = 0
    packets: list[bytes] = msgspec.field(default_factory=list)


class Record(msgspec.Struct):
    """What happened to a scenario's connections, as the client saw it."""

    participant_id: str
    connections: list[Connection] = msgspec.field(default_factory=list)
    refused: int = 0
    disconnect: str = ""
    close_code: int = 0
    faults: list[str] = msgspec.field(default_factory=list)


Command = Callable[[str, str], None]
"""Does something to the newest stream of a participant, as an operator."""


class Actor:
    """One call that acts a scenario. `perform()` once."""

    def __init__(
        self, scenario: Scenario, target: Target, credentials: Credentials, speech: Samples, command: Command
    ) -> None:
        """`speech` is (frames, 2) at 8,000 Hz, played over and over: see `judging.expected_frames`."""
        self.record = Record(str(uuid.uuid4()))
        self._scenario = scenario
        self._target = msgspec.structs.replace(target, path=scenario.path) if scenario.path else target
        self._credentials = credentials
        self._speech = speech
        self._command = command
        self._call_id = str(uuid.uuid4())
        self._line: Line | None = None
        self._client: AudioHook2Client | None = None
        self._session_id = ""
        self._heard = 0
        self._context = ContextAudio(speech, scenario.packet_bytes, scenario.self_delimited)

    def perform(self) -> Record:
        """Carry out all steps, until the server ends the call."""
        try:
            for step in self._scenario.steps:
                if self._line is None and not isinstance(step, steps.Connect):
                    break
                self._do(step)
        finally:
            self._hang_up()
        return self.record

    def _do(self, step: steps.AnyStep) -> None:
        now_ns = time.monotonic_ns()
        match step:
            case steps.Connect():
                self._hang_up()
                self._connect(step)
            case steps.Audio():
                self._send_audio(step)
            case steps.Wait():
                self._listen(now_ns + round(step.seconds * NS_PER_S))
            case steps.Operator():
                self._listen(now_ns)
                self._command(step.command, self.record.participant_id)
            case steps.Close():
                self._close(step)
            case steps.Drop():
                self._hang_up()
            case steps.Await():
                self._await(step)
            case _:
                self._say(step, now_ns)

    def _say(
        self,
        step: steps.Pause | steps.Resume | steps.Discard | steps.Update | steps.Dtmf | steps.Skip,
        now_ns: int,
    ) -> None:
        assert self._client is not None
        match step:
            case steps.Pause():
                self._client.pause(now_ns)
            case steps.Resume():
                self._client.resume(now_ns)
            case steps.Discard():
                self._client.discard(round(step.seconds * RATE_HZ))
            case steps.Update():
                self._client.update(step.language)
            case steps.Dtmf():
                self._client.dtmf(step.digit)
            case steps.Skip():
                self._client.seq += step.numbers
            case _:
                assert_never(step)
        self._listen(now_ns)

    # -- connections ---------------------------------------------------------------------------------------------

    def _connect(self, step: steps.Connect) -> None:
        context = self._scenario.dialect == "context"
        before, self._session_id = self._session_id, str(uuid.uuid4())
        self.record.connections.append(Connection())
        line = Line(self._target)
        self._line = line
        answer = line.upgrade(self._context_headers() if context else self._audiohook2_headers(step.signature))
        if not answer.accepted:
            self.record.refused = answer.status
            self._hang_up()
        elif context:
            self._connection.opened = True
            self._context.begin()
        else:
            self._open(line, step, before)

    def _open(self, line: Line, step: steps.Connect, before: str) -> None:
        old, self._client = self._client, None
        history = round(step.history_seconds * RATE_HZ)
        continued = step.continues and old is not None
        client = AudioHook2Client(
            self._caller(),
            time.monotonic_ns(),
            continued=(ContinuedSession(before, 1, old.seq),) if continued and old is not None else (),
            first_frames=max(0, old.position_frames - history) if continued and old is not None else 0,
        )
        self._client = client
        self._heard = 0
        converse(line, client, lambda: client.opened or client.finished, time.monotonic_ns() + OPEN_WAIT_NS)
        self._connection.opened = client.opened
        self._notice()

    def _caller(self) -> Caller:
        organization, participant = self._credentials.organization, self.record.participant_id
        return Caller(self._session_id, organization, self._call_id, participant, self._session_id)

    def _audiohook2_headers(self, signature: str) -> tuple[tuple[str, str], ...]:
        credentials = self._credentials
        if signature != "good" and not credentials.secret:
            raise LoadError("a scenario with a wrong signature needs a right one: --api-key, --secret-file")
        headers = audiohook2_client.upgrade_headers(self._caller(), credentials.api_key)
        if signature == "none":
            return headers
        if signature == "forged":
            credentials = msgspec.structs.replace(credentials, secret=WRONG_SECRET)
        return credentials.signed(self._target, headers, STALE_S if signature == "stale" else 0)

    def _context_headers(self) -> tuple[tuple[str, str], ...]:
        return self._credentials.admitting() + context_client.upgrade_headers(
            call_id=self._call_id,
            session_id=self.record.participant_id,
            user_id="audiohook-load",
            participant_id=self.record.participant_id,
            direction="inbound",
        )

    @property
    def _connection(self) -> Connection:
        return self.record.connections[-1]

    def _close(self, step: steps.Close) -> None:
        line, client = self._line, self._client
        assert line is not None
        if client is None:
            line.send_close(step.code, step.text)
        else:
            now_ns = time.monotonic_ns()
            client.close(step.reason, now_ns)
            converse(line, client, lambda: client.finished, now_ns + CLOSE_WAIT_NS)
            self._notice()
            line.send_close(None)
        message = line.receive(time.monotonic_ns() + CLOSE_WAIT_NS) if not line.ended else None
        if not line.ended and not isinstance(message, CloseReceived):
            self.record.faults.append("close frame not answered")
        self._hang_up()

    def _hang_up(self) -> None:
        if self._line is not None:
            self._notice()
            self._line.drop()
            self._line = None

    # -- time and what comes in it -------------------------------------------------------------------------------

    def _listen(self, until_ns: int, over: Callable[[], bool] = lambda: False) -> None:
        """Answer what comes until then; in the dialect `context` only pings and a close frame come."""
        line, client = self._line, self._client
        if line is None:
            return
        if client is not None:
            converse(line, client, lambda: over() or client.finished, until_ns)
        else:
            while not line.ended and time.monotonic_ns() < until_ns:
                message = line.receive(until_ns)
                if isinstance(message, CloseReceived):
                    line.closed_by(message)
        self._notice()
        if client is not None and client.finished:
            line.send_close(None)
            line.receive(time.monotonic_ns() + CLOSE_WAIT_NS)
            self._hang_up()
        elif line.ended:
            self._hang_up()

    def _await(self, step: steps.Await) -> None:
        client, kind = self._client, MESSAGES[step.message]
        assert client is not None

        def came() -> bool:
            return any(isinstance(message, kind) for message in client.received[self._heard :])

        self._listen(time.monotonic_ns() + round(step.within_seconds * NS_PER_S), came)
        if not came():
            self.record.faults.append(f"no {step.message} within {step.within_seconds:g} s")
            return
        self._heard += next(
            place for place, message in enumerate(client.received[self._heard :], 1) if isinstance(message, kind)
        )

    def _notice(self) -> None:
        """Put into the record what the server has done so far."""
        record, line, client = self.record, self._line, self._client
        if line is not None and line.close is not None:
            record.close_code = line.close.code or 1005
        if client is not None:
            record.faults += client.faults
            client.faults.clear()
            for message in client.received:
                if isinstance(message, Disconnect):
                    record.disconnect = message.parameters.reason

    # -- audio ---------------------------------------------------------------------------------------------------

    def _send_audio(self, step: steps.Audio) -> None:
        due_ns = time.monotonic_ns()
        if self._client is None:
            for packets, message in self._context.messages(step.seconds, recut=step.recut):
                self._listen(due_ns)
                if self._line is None:
                    return
                self._line.send_audio(message)
                self._connection.packets += packets
                due_ns += 0 if step.burst else self._context.message_ns
        else:
            self._send_pcmu(step, due_ns)
        if not step.burst:
            self._listen(due_ns)

    def _send_pcmu(self, step: steps.Audio, due_ns: int) -> None:
        client = self._client
        assert client is not None
        left = round(step.seconds * RATE_HZ)
        size = MAX_BURST_FRAMES if step.burst else RATE_HZ * self._scenario.message_ms * NS_PER_MS // NS_PER_S
        while left > 0:
            self._listen(due_ns)
            if self._line is None or not client.wants_audio:
                return
            frames = min(left, size)
            self._line.send_audio(pcmu.encode(expected_frames(self._speech, client.position_frames, frames)))
            client.audio_sent(frames)
            self._connection.sent_frames += frames
            left -= frames
            due_ns += 0 if step.burst else frames * NS_PER_S // RATE_HZ


def expected_frames(speech: Samples, first_frame: int, frames: int) -> Samples:
    """Return `frames` frames of the speech that goes on for ever, from `first_frame` on."""
    return speech.take(np.arange(first_frame, first_frame + frames), axis=0, mode="wrap")


class ContextAudio:
    """The Opus packets of one `context` connection after another, in order; each has an encoder of its own."""

    message_ns = OPUS_FRAMES * NS_PER_S // OPUS_RATE_HZ

    def __init__(self, speech: Samples, packet_bytes: int, delimit: bool = False) -> None:
        self._speech = speech[:, 0].repeat(2)
        self._packet_bytes = packet_bytes
        self._delimit = delimit
        self._place = 0
        self._encoder: OpusEncoder | None = None
        self._cuts = random.Random(packet_bytes)

    def begin(self) -> None:
        """Another connection begins."""
        bitrate_bps = (self._packet_bytes or OPUS_BYTES) * 8 * OPUS_RATE_HZ // OPUS_FRAMES
        self._encoder = OpusEncoder(OPUS_RATE_HZ, 1, bitrate_bps, constant=bool(self._packet_bytes))

    def messages(self, seconds: float, *, recut: bool) -> list[tuple[Sequence[bytes], bytes]]:
        """Return the messages of so much audio, each with the packets that are complete with it."""
        packets = [self._next() for _ in range(round(seconds * OPUS_RATE_HZ) // OPUS_FRAMES)]
        sent = [self_delimited(packet) for packet in packets] if self._delimit else packets
        if not recut:
            return [((packet,), message) for packet, message in zip(packets, sent, strict=True)]
        whole = b"".join(sent)
        cuts = sorted({0, len(whole), *self._cuts.sample(range(1, len(whole)), len(packets) - 1)})
        ends = list(accumulate(map(len, sent)))
        return [
            ([packet for packet, end in zip(packets, ends, strict=True) if low < end <= high], whole[low:high])
            for low, high in pairwise(cuts)
        ]

    def _next(self) -> bytes:
        assert self._encoder is not None
        pcm = self._speech.take(range(self._place, self._place + OPUS_FRAMES), mode="wrap")
        self._place += OPUS_FRAMES
        packet = self._encoder.encode(pcm.tobytes(), OPUS_FRAMES)
        if self._packet_bytes and len(packet) != self._packet_bytes:
            raise LoadError(f"packet_bytes = {self._packet_bytes}: libopus makes them {len(packet)} bytes long")
        return packet
