"""The sections about what comes before a stream: the request, and who gets in when there is too much.

Part of the schema (`schema.py`).
"""

from typing import Annotated

import msgspec

from audiohook.config.meta import meta

_MOST_STREAMS = 16_384
_MOST_CONNECTIONS = 1_048_576


class Http(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[http]: limits of the request that comes before a WebSocket."""

    max_request_bytes: Annotated[
        int,
        meta(
            "bytes",
            "Largest request head (request line and headers); a larger one is answered with 431.",
            1024,
            1_048_576,
        ),
    ] = 16_384
    max_headers: Annotated[
        int,
        meta("headers", "Most headers that a request may have; one with more is answered with 431.", 10, 10_000),
    ] = 100
    request_seconds: Annotated[
        float,
        meta(
            "seconds",
            "Deadline for the complete request, counted from when the connection is accepted; a later one is answered "
            "with 408.",
            0.1,
            600,
        ),
    ] = 10.0


class Admission(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[admission]: caps, and what becomes of connections that have no stream."""

    streams_per_host: Annotated[
        int,
        meta(
            "streams",
            "Streams that there may be at once, PARKED ones aside; one more is refused with 503, and 0 is as many as "
            "memory.streams.",
            0,
            _MOST_STREAMS,
        ),
    ] = 0
    streams_per_worker: Annotated[
        int,
        meta(
            "streams",
            "Streams that one worker may have at once; one more is refused with 503, and 0 is any number.",
            0,
            _MOST_STREAMS,
        ),
    ] = 0
    streams_per_address: Annotated[
        int,
        meta(
            "streams",
            "Streams that may come from one address at once, the caller's where a trusted proxy names it; one more is "
            "refused with 503, and 0 is any number.",
            0,
            _MOST_STREAMS,
        ),
    ] = 0
    streams_per_organization: Annotated[
        int,
        meta(
            "streams",
            "Streams that one organization may have at once, where the peer names one (audiohook2); one more is "
            "refused, and 0 is any number.",
            0,
            _MOST_STREAMS,
        ),
    ] = 0
    connections_per_address: Annotated[
        int,
        meta(
            "connections",
            "Connections that one address may have open with one worker, trusted proxies aside; one more gets 503 "
            "before its request is read, and 0 is any number, as it must be where many peers share an address.",
            0,
            _MOST_CONNECTIONS,
        ),
    ] = 0
    waiting_per_worker: Annotated[
        int,
        meta(
            "connections",
            "Connections without a stream that a worker keeps; one more, and the oldest of them is dropped (with 1024, "
            "whoever is through in 0.2 s, request and all, is safe from 5,000 strangers a second).",
            16,
            _MOST_CONNECTIONS,
        ),
    ] = 1024
