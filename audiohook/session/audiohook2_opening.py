"""What the `open` message of an `audiohook2` session says: who calls, with which media, continuing what.

Turns one message into values, once; the session keeps none of its JSON. Strings that go to readers are cut to what a
stream card holds, without control characters. `aniName`, `customConfig` and `inputVariables` are read and dropped.
"""

from msgspec import UNSET

from audiohook.session.audiohook2_media import NO_MEDIA, Choice, choose
from audiohook.session.audiohook2_messages import (
    NIL_UUID,
    ContinuedSession,
    Open,
    OpenedParameters,
    OpenParameters,
)
from audiohook.session.audiohook2_position import parse_duration
from audiohook.session.audiohook2_reading import read_entry
from audiohook.session.audiohook2_terms import DIALECT, AudioHook2Terms, Greeting
from audiohook.session.events import Identity, Media

MAX_CONTINUED_SESSIONS = 32
MAX_CHARACTERS = 128


class Opening:
    """An `open` message, understood."""

    __slots__ = ("_languages", "choice", "continued", "first_ns", "identity", "is_foreign", "is_probe", "start_paused")

    def __init__(self, message: Open, greeting: Greeting, terms: AudioHook2Terms) -> None:
        parameters = message.parameters
        self.is_foreign = parameters.organization_id.lower() != greeting.organization_id.lower()
        """It names another organization than the headers, for which the peer has shown a key."""
        self.is_probe = parameters.conversation_id == parameters.participant.id == NIL_UUID
        """Nobody calls: an administrator saves an integration, and Genesys looks whether we are there."""
        self.identity = _identity(parameters, greeting)
        self.choice: Choice | None = choose(parameters.media, terms.channels, terms.formats)
        self.continued = _continued(parameters)
        """The sessions that this one continues, oldest first."""
        self.first_ns = parse_duration(message.position) or 0
        """The position of the first audio that is offered."""
        self.start_paused = terms.start_paused
        self._languages = terms.supported_languages if parameters.supported_languages is True else None

    @property
    def media(self) -> Media:
        return self.choice.media if self.choice else NO_MEDIA

    def opened(self, discard_to: str | None) -> OpenedParameters:
        """Return the parameters of the answer."""
        return OpenedParameters(
            media=(self.choice.offer,) if self.choice else (),
            start_paused=True if self.start_paused else UNSET,
            discard_to=UNSET if discard_to is None else discard_to,
            supported_languages=UNSET if self._languages is None else self._languages,
        )


def _identity(parameters: OpenParameters, greeting: Greeting) -> Identity:
    participant = parameters.participant
    return Identity(
        dialect=DIALECT,
        call_id=parameters.conversation_id.lower(),
        session_id=greeting.session_id.lower(),
        participant_id=participant.id.lower(),
        organization_id=greeting.organization_id.lower(),
        ani=_printable(participant.ani),
        dnis=_printable(participant.dnis),
        correlation_id=greeting.correlation_id,
    )


def _printable(text: str) -> str:
    return "".join(filter(str.isprintable, text[:MAX_CHARACTERS]))


def _continued(parameters: OpenParameters) -> tuple[str, ...]:
    entries = parameters.continued_sessions
    newest = entries[-MAX_CONTINUED_SESSIONS:] if isinstance(entries, tuple) else ()
    sessions = (read_entry(ContinuedSession, entry) for entry in newest)
    return tuple(session.id.lower() for session in sessions if session is not None)
