"""The recorder: one loop over all streams of a hub, each into a file of its own, with its verdict beside it.

An ordinary reader: it uses the public API, gets the memory read-only and cannot slow the daemon. If a disk is slow it
falls behind, loses what the rings no longer hold, and says in each verdict how much that was. One recorder a folder.
"""

import fcntl
import logging
import os
import threading

import audiohook
from audiohook.control.attachment import matches
from audiohook.errors import ConfigError
from audiohook.sinks.disk import Disk
from audiohook.sinks.naming import check_pattern
from audiohook.sinks.track import Track, find_place
from audiohook.sinks.verdict import IDENTITIES
from audiohook.sinks.wav import PRIVATE

log = logging.getLogger("audiohook.record")

BLOCK_FRAMES = 8000
"""One second at 8 kHz, half a second at 16: what `kill -9` costs a file at most, until the next recorder goes on."""

LOCK = ".audiohook-record.lock"


class Recorder:
    """Records into one folder. Usable for several hubs, one after the other or in several threads."""

    def __init__(self, folder: str, pattern: str, match: dict[str, str]) -> None:
        """Take the folder. Raises ConfigError: a pattern or key that does not exist, a folder that is not ours."""
        try:
            self._pattern = check_pattern(pattern)
        except ValueError as error:
            raise ConfigError("command line", "", pattern, str(error)) from None
        unknown = sorted(set(match) - set(IDENTITIES))
        if unknown:
            raise ConfigError(
                "command line", "--match", unknown[0], f"there is no such key; there are {', '.join(IDENTITIES)}"
            )
        self._match = {IDENTITIES[name]: value for name, value in match.items()}
        self._folder = folder
        self._disk = Disk()
        self._taking = threading.Lock()
        self._taken: set[str] = set()
        self._lock = _take_folder(folder)

    def close(self) -> None:
        """Give the folder back."""
        os.close(self._lock)

    def record(self, hub: audiohook.Hub) -> None:
        """Record every stream until the hub stops following or its daemon is gone; then leave every file complete."""
        tracks: dict[tuple[int, int], Track] = {}

        def take(stream: audiohook.Stream) -> bool:
            track = self._begin(stream)
            if track is not None:
                tracks[stream.slot, stream.epoch] = track
            return track is not None

        try:
            for stream, block in hub.blocks(BLOCK_FRAMES, start="oldest", copy=True, ended=True, ends=True, where=take):
                if block is not None:
                    tracks[stream.slot, stream.epoch].put(block.first_frame, block.samples, block.gaps)
                else:
                    self._end(tracks.pop((stream.slot, stream.epoch)))
        except audiohook.WriterGone as gone:
            log.warning("%s", gone)
        finally:
            for track in tracks.values():
                track.put_rest()
                self._end(track)

    def _begin(self, stream: audiohook.Stream) -> Track | None:
        """Return a track for a stream that is to be recorded, None for one that is not, or that has been."""
        if not matches(stream, self._match):
            return None
        with self._taking:
            path, earlier = find_place(self._folder, self._pattern, stream, self._taken)
            if earlier is not None and earlier.get("complete"):
                return None
            self._taken.add(path)
        log.info("%s stream=%s file=%s", "going on with" if earlier else "recording", stream.stream_id, path)
        return Track(stream, path, earlier, self._disk)

    def _end(self, track: Track) -> None:
        complete = track.stream.over
        track.finish(complete=complete)
        with self._taking:
            self._taken.discard(track.path)
        log.info("%s stream=%s file=%s", "recorded" if complete else "interrupted", track.stream_id, track.path)


def _take_folder(folder: str) -> int:
    """Make the folder if need be, and keep every other recorder out of it for as long as the descriptor is open."""

    def refuse(why: str) -> ConfigError:
        return ConfigError("command line", "--dir", folder, why)

    path = os.path.join(folder, LOCK)
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, PRIVATE)
    except OSError as error:
        raise refuse(f"cannot write there: {error.strerror}; choose another folder or change its owner") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise refuse("another audiohook-record writes there; give each a folder of its own") from None
    return lock
