"""The sections about peers: the dialect `audiohook2`, and who may enter. Part of the schema (`schema.py`)."""

from typing import Annotated, Literal

import msgspec

from audiohook.config.meta import meta

_HOUR_S = 3600


def _list(sentence: str, most: int, least: int = 0) -> msgspec.Meta:
    return msgspec.Meta(min_length=least, max_length=most, description=sentence, extra={"unit": "none"})


class AudioHook2(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[audiohook2]: Genesys' AudioHook protocol v2, JSON with PCMU or L16."""

    channels: Annotated[
        list[Literal["external,internal", "external", "internal"]],
        _list("Channels to take from what is offered, best first; a pair stands for either order.", 3, 1),
    ] = msgspec.field(default_factory=lambda: ["external,internal", "external", "internal"])
    formats: Annotated[
        list[Literal["PCMU", "L16"]],
        _list("Formats to take, best first; channels rank before formats.", 2, 1),
    ] = msgspec.field(default_factory=lambda: ["PCMU", "L16"])
    l16_byte_order: Annotated[
        Literal["little", "big"],
        meta("none", "Byte order of L16, which no specification settles; the wrong one sounds like loud noise."),
    ] = "little"
    max_message_bytes: Annotated[
        int,
        meta(
            "bytes",
            "Largest WebSocket message; a larger one is answered with close code 1009 before it is buffered.",
            65_536,
            1_048_576,
        ),
    ] = 65_536
    start_paused: Annotated[
        bool,
        meta("none", "Whether a session starts paused, until somebody resumes it."),
    ] = False
    supported_languages: Annotated[
        list[Annotated[str, msgspec.Meta(pattern=r"^[a-z]{2,3}(-[A-Za-z0-9]{2,8}){0,3}\Z")]],
        _list("Language codes that are listed when the peer asks for them.", 64),
    ] = []
    open_seconds: Annotated[
        float,
        meta("seconds", "How long after the upgrade the peer may take for its open message.", 0.1, 600),
    ] = 10.0
    idle_seconds: Annotated[
        float,
        meta(
            "seconds",
            "How long a session that is not paused may go without any message or audio until it is ended.",
            1,
            _HOUR_S,
        ),
    ] = 30.0
    paused_idle_seconds: Annotated[
        float,
        meta("seconds", "The same for a paused session.", 1, 24 * _HOUR_S),
    ] = 3600.0


class Auth(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[auth]: how peers show that they may place calls."""

    keys_file: Annotated[
        str,
        meta(
            "none",
            "File with API keys and shared secrets, mode 600, read again whenever it changes; empty means that no keys "
            "are asked for.",
        ),
    ] = ""
    signature_age_seconds: Annotated[
        int,
        meta("seconds", "A signature made longer ago than this is refused.", 1, _HOUR_S),
    ] = 300
    signature_skew_seconds: Annotated[
        int,
        meta("seconds", "How far the peer's clock may be off, either way.", 0, _HOUR_S),
    ] = 30
    secret_header: Annotated[
        str,
        meta("none", "Header, in lower case, in which peers of the dialect context send a shared secret."),
    ] = "x-audiohook-secret"
