"""picows and uvloop: the Python server with the least to do a packet, since its parser is compiled.

`py_picows.py PORT RINGFILE CALLS KIND`
"""

import sys

import uvloop
from picows import WSFrame, WSListener, WSMsgType, WSTransport, WSUpgradeRequest, ws_create_server

from tests.bench.peers.slots import BACKLOG, PARTICIPANT, Slots, Write


class OpusCall(WSListener):
    def __init__(self, write: Write) -> None:
        self._write = write

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type == WSMsgType.BINARY:
            self._write(frame.get_payload_as_bytes())
        elif frame.msg_type == WSMsgType.CLOSE:
            transport.disconnect()


class PcmuCall(WSListener):
    def __init__(self, slots: Slots) -> None:
        self._slots = slots

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type == WSMsgType.BINARY:
            self._write(frame.get_payload_as_bytes())
        elif frame.msg_type == WSMsgType.TEXT:
            self._write, opened = self._slots.open(frame.get_payload_as_utf8_text())
            transport.send(WSMsgType.TEXT, opened.encode())
        elif frame.msg_type == WSMsgType.CLOSE:
            transport.disconnect()


async def serve(port: int, slots: Slots, kind: str) -> None:
    def call(request: WSUpgradeRequest) -> WSListener:
        return PcmuCall(slots) if kind == "pcmu" else OpusCall(slots.take(request.headers[PARTICIPANT]))

    server = await ws_create_server(call, "127.0.0.1", port, backlog=BACKLOG)
    print("READY", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    _, port, ringfile, calls, kind = sys.argv
    uvloop.run(serve(int(port), Slots(ringfile, int(calls), kind), kind))
