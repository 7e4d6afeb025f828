"""Lets the client half of AudioHook v2 speak over a `Line`, until something is true or the time is up."""

import time
from collections.abc import Callable

from audiohook.load.line import Line
from audiohook.session.audiohook2_client import AudioHook2Client
from audiohook.wire.frames import CloseReceived, Failed


def converse(line: Line, client: AudioHook2Client, over: Callable[[], bool], until_ns: int) -> None:
    """Send what the client says and give it what comes; pings go out on time.

    Returns when `over()`, at `until_ns`, or when nothing more can come: then `line.ended` says how it ended.
    """
    while True:
        for text in client.texts:
            line.send_text(text)
        client.texts.clear()
        now_ns = time.monotonic_ns()
        if over() or now_ns >= until_ns:
            return
        if client.deadline_ns <= now_ns:
            client.on_deadline(now_ns)
            continue
        message = line.receive(min(until_ns, client.deadline_ns))
        if isinstance(message, CloseReceived):
            line.closed_by(message)
        elif isinstance(message, Failed):
            line.ended = f"broken protocol: {message.closure.slug}"
        elif isinstance(message, str):
            client.receive_text(message, time.monotonic_ns())
        elif isinstance(message, bytes):
            client.receive_audio(message)
        if line.ended:
            return
