"""A way for programs that speak no TLS to a port that does: connections are passed on, encrypted, from another address.

Stands where the platform stands: it checks the certificate as the platform does, and calls from CALLER, which is not
the address of any proxy here, so that who is seen as the caller can be told apart.
"""

import asyncio
import ssl
import threading

CALLER = "127.0.0.2"
PIECE_BYTES = 65_536


class Tunnel:
    """Listens on a port of its own, `address`, from entering the `with` block until leaving it."""

    def __init__(self, port: int, context: ssl.SSLContext | None) -> None:
        """`port` is where connections go, `context` None for no TLS at all."""
        self._target = port
        self._context = context
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))

    def __enter__(self) -> "Tunnel":
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join()

    @property
    def url(self) -> str:
        return "ws://{}:{}".format(*self.address)

    async def _serve(self) -> None:
        self._loop, self._end = asyncio.get_running_loop(), asyncio.Event()
        self._passing: set[asyncio.Task[None]] = set()
        async with await asyncio.start_server(self._connected, "127.0.0.1", 0) as server:
            self.address: tuple[str, int] = server.sockets[0].getsockname()
            self._ready.set()
            await self._end.wait()
        for task in self._passing:
            task.cancel()
        await asyncio.gather(*self._passing, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._passing.add(task)
        writers = [writer]
        try:
            named = {"ssl": self._context, "server_hostname": "localhost"} if self._context else {}
            far_reader, far_writer = await asyncio.open_connection(
                "127.0.0.1", self._target, local_addr=(CALLER, 0), **named
            )
            writers.append(far_writer)
            async with asyncio.TaskGroup() as both:
                both.create_task(_pass_on(reader, far_writer))
                both.create_task(_pass_on(far_reader, writer))
        except* OSError:
            pass  # the other end hears it
        finally:
            for end in writers:
                end.transport.abort()
            self._passing.discard(task)


async def _pass_on(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    while data := await source.read(PIECE_BYTES):
        sink.write(data)
        await sink.drain()
    sink.close()
    await sink.wait_closed()
