"""What a placed call says besides its audio, one class a dialect: headers, messages, how it begins and how it ends.

Theory of operation: `placed.py` has the socket and asks. After each thing that a dialogue is told (`begin`,
`receive_text`, `on_deadline`, `end`) it sends `texts`, looks whether the call is `opened` or the server `ended` it,
and closes the WebSocket with `close_code` as soon as it is `finished`.

`context` has nothing to say: opened by the 101, finished when we want it. Of `audiohook2` the client half is
`session/audiohook2_client.py`; here is what a run adds to it: the figures.
"""

from typing import Protocol

from audiohook.load.credentials import Credentials
from audiohook.load.histogram import Histogram
from audiohook.load.plan import PlannedCall
from audiohook.load.target import Target
from audiohook.session import audiohook2_client, audiohook2_messages, context_client
from audiohook.session.audiohook2_client import AudioHook2Client
from audiohook.session.audiohook2_media import RATE_HZ
from audiohook.session.context import DIALECT as CONTEXT
from audiohook.units import NEVER_NS, NS_PER_S

CONTEXT_CLOSE_NS = 5 * NS_PER_S
"""From our close frame to the server's."""

USER_ID = "audiohook-load"

Headers = tuple[tuple[str, str], ...]


class Figures:
    """What the calls of a process have measured together."""

    def __init__(self) -> None:
        self.pong = Histogram()
        self.faults: dict[str, int] = {}


class Dialogue(Protocol):
    """One call's words. See the theory of operation."""

    texts: list[str]
    close_within_ns: int
    open_ns: int
    """From `open` to `opened`; 0 where there is no such thing, or not yet."""

    @property
    def opened(self) -> bool: ...
    @property
    def unusable(self) -> str:
        """Why no audio can be sent although the call is opened, or nothing."""

    @property
    def wants_audio(self) -> bool: ...
    @property
    def ended(self) -> str:
        """What the server ended the call with, in the dialect's own words, or nothing."""

    @property
    def finished(self) -> bool: ...
    @property
    def close_code(self) -> int | None: ...
    @property
    def deadline_ns(self) -> int: ...

    def headers(self, target: Target) -> Headers:
        """Return the upgrade request's headers, besides those of the WebSocket."""

    def begin(self, now_ns: int) -> None: ...
    def audio_sent(self) -> None: ...
    def receive_text(self, text: str, now_ns: int) -> None: ...
    def receive_audio(self) -> None: ...
    def on_deadline(self, now_ns: int) -> None: ...
    def end(self, now_ns: int) -> None: ...


class ContextDialogue:
    """The dialect `context`: the headers say it all."""

    close_within_ns = CONTEXT_CLOSE_NS
    open_ns = 0
    unusable = ""
    ended = ""
    wants_audio = True
    close_code: int | None = 1000
    deadline_ns = NEVER_NS

    def __init__(self, call: PlannedCall, credentials: Credentials) -> None:
        self.texts: list[str] = []
        self.opened = False
        self.finished = False
        self._call = call
        self._credentials = credentials

    def headers(self, target: Target) -> Headers:
        call = self._call
        return self._credentials.admitting() + context_client.upgrade_headers(
            call_id=call.call_id,
            session_id=call.session_id,
            user_id=USER_ID,
            participant_id=call.participant_id,
            direction=call.direction,
        )

    def begin(self, now_ns: int) -> None:
        self.opened = True

    def audio_sent(self) -> None:
        """Nobody counts."""

    def receive_text(self, text: str, now_ns: int) -> None:
        """The dialect gives texts no meaning."""

    def receive_audio(self) -> None:
        """Nor audio that comes back."""

    def on_deadline(self, now_ns: int) -> None:
        """There is none."""

    def end(self, now_ns: int) -> None:
        self.finished = True


class AudioHook2Dialogue:
    """The dialect `audiohook2`, as Genesys speaks it."""

    close_within_ns = audiohook2_client.CLOSE_WAIT_NS
    close_code: int | None = None
    """Genesys closes without a status."""

    def __init__(
        self,
        call: PlannedCall,
        credentials: Credentials,
        figures: Figures,
        former: "AudioHook2Dialogue | None" = None,
    ) -> None:
        """`former` is the dialogue of the session that this one continues, from where that one's audio has ended."""
        self.texts: list[str] = []
        self.open_ns = 0
        self._former = former
        self._call = call
        self._credentials = credentials
        self._figures = figures
        self._frames = RATE_HZ * call.packet_ns // NS_PER_S
        self._caller = audiohook2_client.Caller(
            session_id=call.session_id,
            organization_id=credentials.organization,
            conversation_id=call.call_id,
            participant_id=call.participant_id,
            correlation_id=call.session_id,
        )
        self._client: AudioHook2Client | None = None
        self._begun_ns = 0
        self._faults_told = 0

    @property
    def opened(self) -> bool:
        return self._client is not None and self._client.opened

    @property
    def unusable(self) -> str:
        if self._client is None or not self._client.opened:
            return ""
        media = self._client.media
        if media is None:
            return "opened without media"
        return "" if (media.format, media.channels) == ("PCMU", ("external", "internal")) else "opened with other media"

    @property
    def wants_audio(self) -> bool:
        return self._client is not None and self._client.wants_audio

    @property
    def ended(self) -> str:
        said = self._client.received if self._client is not None else []
        messages = (message for message in said if isinstance(message, audiohook2_messages.Disconnect))
        return next((f"disconnect {message.parameters.reason}" for message in messages), "")

    @property
    def finished(self) -> bool:
        return self._client is not None and self._client.finished

    @property
    def deadline_ns(self) -> int:
        return NEVER_NS if self._client is None else self._client.deadline_ns

    def headers(self, target: Target) -> Headers:
        names = audiohook2_client.upgrade_headers(self._caller, self._credentials.api_key)
        return self._credentials.signed(target, names)

    def begin(self, now_ns: int) -> None:
        self._begun_ns = now_ns
        former = self._former._client if self._former is not None else None
        if self._former is None or former is None or not former.opened:
            self._client = AudioHook2Client(self._caller, now_ns)
        else:
            continued = audiohook2_messages.ContinuedSession(self._former._call.session_id, 1, former.seq)
            self._client = AudioHook2Client(
                self._caller, now_ns, continued=(continued,), first_frames=former.position_frames
            )
        self.texts = self._client.texts

    def say(self, kind: type[audiohook2_messages.ClientMessage]) -> None:
        """Say something that has no parameters."""
        self._spoken().say(kind)

    def audio_sent(self) -> None:
        self._spoken().audio_sent(self._frames)

    def receive_text(self, text: str, now_ns: int) -> None:
        client = self._spoken()
        was_opened, rtt_ns = client.opened, client.rtt_ns
        client.receive_text(text, now_ns)
        if client.opened and not was_opened:
            self.open_ns = max(1, now_ns - self._begun_ns)
        if client.rtt_ns is not None and client.rtt_ns != rtt_ns:
            self._figures.pong.record(client.rtt_ns)
        self._tell_faults()
        if not self.ended:
            # Pongs and events would pile up over a long call; a disconnect is what is asked for later.
            client.received.clear()

    def receive_audio(self) -> None:
        self._spoken().receive_audio(b"")
        self._tell_faults()

    def on_deadline(self, now_ns: int) -> None:
        self._spoken().on_deadline(now_ns)
        self._tell_faults()

    def end(self, now_ns: int) -> None:
        self._spoken().close("end", now_ns)

    def _spoken(self) -> AudioHook2Client:
        assert self._client is not None
        return self._client

    def _tell_faults(self) -> None:
        counts = self._figures.faults
        for fault in self._spoken().faults[self._faults_told :]:
            # What a decoder says of a bad message is different each time: one line for all of them.
            kind = fault.partition(":")[0]
            counts[kind] = counts.get(kind, 0) + 1
        self._faults_told = len(self._spoken().faults)


def dialogue_for(
    call: PlannedCall, credentials: Credentials, figures: Figures, former: Dialogue | None = None
) -> Dialogue:
    """Return what a call has to say; `former` is the dialogue of the connection that it comes back for, if any."""
    if call.dialect == CONTEXT:
        return ContextDialogue(call, credentials)
    return AudioHook2Dialogue(call, credentials, figures, former if isinstance(former, AudioHook2Dialogue) else None)
