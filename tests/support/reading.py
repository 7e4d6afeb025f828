"""A reader as a stranger would write it, in a process of its own: `python -m tests.support.reading …`.

    streams HUB FOLDER FRAMES [UID]    follow hub.streams(); a thread a stream reads its blocks from the oldest on
    live HUB FOLDER FRAMES [UID]       the same from `start="live"`, for the streams that are there now
    hub HUB FOLDER FRAMES [UID]        one loop of hub.blocks() over all of them, from the oldest on

Each stream's samples go to FOLDER/STREAM_ID.raw as they come; what else is to be known is printed, a JSON object a
line: `attached`, `began` (a stream's first block), `read` (a stream is over, with what was seen of it), `gone` (the
writer was killed), `refused`. Ends when its stdin does. With UID it gives up root when everything is imported.
"""

import json
import os
import sys
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import audiohook
import audiohook.control.hub
import audiohook.memory.stream

_talk = threading.Lock()


def tell(event: str, **fields: Any) -> None:
    with _talk:
        print(json.dumps({"event": event, **fields}), flush=True)


class Copy:
    """What one reader has had of one stream."""

    def __init__(self, stream: audiohook.Stream, folder: Path) -> None:
        self._stream = stream
        self._file = (folder / f"{stream.stream_id}.raw").open("wb", buffering=0)
        self._first: int | None = None
        self._next = 0
        self._jumps = 0
        self._gaps = 0

    def take(self, block: audiohook.Block) -> None:
        if self._first is None:
            self._first = self._next = block.first_frame
            tell("began", stream=self._stream.stream_id, first=block.first_frame)
        self._jumps += block.first_frame != self._next
        self._next = block.first_frame + block.frames
        self._gaps += len(block.gaps)
        self._file.write(block.samples.tobytes())

    def finish(self) -> None:
        stream = self._stream
        self._file.close()
        totals = stream.totals
        tell(
            "read",
            stream=stream.stream_id,
            participant=stream.participant_id,
            first=self._first,
            end=self._next,
            jumps=self._jumps,
            gaps=self._gaps,
            lost=stream.lost_frames,
            state=stream.state,
            reason=stream.end_reason,
            code=stream.close_code,
            length=totals.length,
            decoded=totals.decoded,
            concealed=totals.concealed,
            gap_frames=sum(totals.gaps.values()),
            packets=totals.packets,
        )


def read_stream(stream: audiohook.Stream, folder: Path, frames: int, start: Any) -> None:
    copy = Copy(stream, folder)
    try:
        for block in stream.blocks(frames=frames, start=start):
            copy.take(block)
    except audiohook.WriterGone as gone:
        tell("gone", stream=stream.stream_id, text=str(gone))
    copy.finish()


def read_streams(streams: Iterable[audiohook.Stream], folder: Path, frames: int, start: Any) -> None:
    for stream in streams:
        threading.Thread(target=read_stream, args=(stream, folder, frames, start), daemon=True).start()


def read_hub(hub: audiohook.Hub, folder: Path, frames: int) -> None:
    copies: dict[str, Copy] = {}
    for stream, block in hub.blocks(frames=frames, start="oldest"):
        if stream.stream_id not in copies:
            copies[stream.stream_id] = Copy(stream, folder)
        copies[stream.stream_id].take(block)
    for copy in copies.values():
        copy.finish()


def main(mode: str, path: str, folder: Path, frames: int, uid: int | None = None) -> None:
    if uid is not None:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
    try:
        hub = audiohook.attach(path)
    except audiohook.HubUnavailable as refused:
        tell("refused", text=str(refused), uid=os.getuid())
        return
    tell("attached", uid=os.getuid())
    reading = {
        "streams": lambda: read_streams(hub.streams(follow=True, ended=True), folder, frames, "oldest"),
        "live": lambda: read_streams(list(hub.streams()), folder, frames, "live"),
        "hub": lambda: read_hub(hub, folder, frames),
    }[mode]
    thread = threading.Thread(target=reading, daemon=True)
    thread.start()
    sys.stdin.read()
    hub.close()
    thread.join()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]), *map(int, sys.argv[5:]))
