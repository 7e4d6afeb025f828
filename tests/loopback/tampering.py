"""A proxy between load client and daemon that loses, repeats or alters one packet: what `--verify` must find."""

import socket
import threading
from collections.abc import Callable
from types import TracebackType

Tamper = Callable[[int, bytes], list[bytes]]
"""Given a packet's number and its frame, as sent, returns the frames to pass on."""


class TamperingProxy:
    """Passes everything on, but for the audio frames of the first connection, which go through `tamper`."""

    def __init__(self, port: int, tamper: Tamper) -> None:
        self._port = port
        self._tamper = tamper
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self._listener.getsockname()[1]}/"

    def __enter__(self) -> "TamperingProxy":
        self._threads[0].start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        for end in self._sockets:
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        for thread in self._threads:
            thread.join()
        for end in (self._listener, *self._sockets):
            end.close()

    def _accept(self) -> None:
        tamper: Tamper = self._tamper
        while True:
            try:
                caller, _ = self._listener.accept()
            except OSError:
                return
            daemon = socket.create_connection(("127.0.0.1", self._port))
            self._sockets += [caller, daemon]
            for run in (
                threading.Thread(target=_pass_frames, args=(caller, daemon, tamper)),
                threading.Thread(target=_pass_bytes, args=(daemon, caller)),
            ):
                self._threads.append(run)
                run.start()
            tamper = _untouched


def _untouched(number: int, frame: bytes) -> list[bytes]:
    return [frame]


def _pass_bytes(source: socket.socket, target: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        return


def _pass_frames(source: socket.socket, target: socket.socket, tamper: Tamper) -> None:
    unread = b""
    try:
        while b"\r\n\r\n" not in unread:
            unread += source.recv(65536)
        head, _, unread = unread.partition(b"\r\n\r\n")
        target.sendall(head + b"\r\n\r\n")
        number = 0
        while data := source.recv(65536):
            unread += data
            while frame := _first_frame(unread):
                unread = unread[len(frame) :]
                audio = frame[0] == 0x82
                for passed in tamper(number, frame) if audio else [frame]:
                    target.sendall(passed)
                number += audio
        target.shutdown(socket.SHUT_WR)
    except OSError:
        return


def _first_frame(data: bytes) -> bytes:
    """Return the first whole frame of `data`, masked and shorter than 64 KB as the client's are, or nothing."""
    if len(data) < 4:
        return b""
    size = data[1] & 0x7F
    whole = 2 + 4 + size if size < 126 else 4 + 4 + int.from_bytes(data[2:4], "big")
    return data[:whole] if len(data) >= whole else b""
