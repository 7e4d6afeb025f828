"""websockets: what somebody who writes this in Python would take first, on asyncio's own loop or on uvloop.

`py_websockets.py asyncio|uvloop PORT RINGFILE CALLS KIND`
"""

import asyncio
import sys

import uvloop
from websockets.asyncio.server import ServerConnection
from websockets.asyncio.server import serve as websockets_serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request

from tests.bench.peers.slots import BACKLOG, PARTICIPANT, Slots, Write


async def serve(port: int, slots: Slots, kind: str) -> None:
    writes: dict[ServerConnection, Write] = {}

    def take(connection: ServerConnection, request: Request) -> None:
        """Before the request is answered: whoever has the answer finds the slot."""
        if kind != "pcmu":
            writes[connection] = slots.take(request.headers[PARTICIPANT])

    async def receive(connection: ServerConnection) -> None:
        try:
            if kind == "pcmu":
                writes[connection], opened = slots.open(await connection.recv())
                await connection.send(opened)
            write = writes.pop(connection)
            async for payload in connection:
                write(payload)
        except ConnectionClosed:
            pass  # without a close frame, as the bench ends its calls

    # Like its rivals it sends no pings of its own: a timer a connection is not what is compared.
    quiet = {"compression": None, "ping_interval": None}
    async with websockets_serve(receive, "127.0.0.1", port, process_request=take, backlog=BACKLOG, **quiet) as server:
        print("READY", flush=True)
        await server.serve_forever()


if __name__ == "__main__":
    _, loop, port, ringfile, calls, kind = sys.argv
    run = {"asyncio": asyncio.run, "uvloop": uvloop.run}[loop]
    run(serve(int(port), Slots(ringfile, int(calls), kind), kind))
