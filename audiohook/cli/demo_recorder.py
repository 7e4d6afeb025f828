"""The reader of `make run` that writes WAV files: an example of a program beside the daemon, with a thread a stream.

Uses the public API only. On SIGTERM it follows no more streams, reads the ones it has to their ends, and prints how
many files it wrote.
"""

import signal
import sys
import threading
import time
import wave
from pathlib import Path

import audiohook

BLOCK_FRAMES = 1600


def record(stream: audiohook.Stream, folder: Path, written: list[Path]) -> None:
    """Write one stream, gaps as silence, from its first frame to its end."""
    start = time.strftime("%H%M%S", time.localtime(stream.opened_realtime_ns / 1e9))
    path = folder / f"{start}-{stream.call_id[:8]}-{stream.direction}.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(len(stream.channel_names))
        file.setsampwidth(2)
        file.setframerate(stream.sample_rate)
        for block in stream.blocks(BLOCK_FRAMES, start="oldest", on_overrun="skip"):
            file.writeframes(block.samples.tobytes())
    written.append(path)


def main(hub_path: str, folder: str) -> int:
    written: list[Path] = []
    threads = []
    with audiohook.attach(hub_path) as hub:
        signal.signal(signal.SIGTERM, lambda _number, _frame: hub.stop_following())
        for stream in hub.streams(follow=True):
            thread = threading.Thread(target=record, args=(stream, Path(folder), written))
            thread.start()
            threads.append(thread)
        for thread in threads:
            thread.join()
    print(len(written))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2]))
