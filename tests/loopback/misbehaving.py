"""A server of AudioHook v2 that says what a test wants: right, wrong, or nothing."""

import json
from collections.abc import Callable
from typing import Any

from load_acceptor import Acceptor, Peer

from audiohook.wire.frames import CloseReceived, Message, WebSocket

Said = list[dict[str, Any]]
STEREO = {"type": "audio", "format": "PCMU", "channels": ["external", "internal"], "rate": 8000}


class Misbehaving(Acceptor):
    """Answers each text with what `answer` makes of all that were said: messages that lack what is usual in them."""

    def __init__(self, answer: Callable[[Said], Said]) -> None:
        super().__init__()
        self.said: dict[Peer, Said] = {}
        self._answer = answer

    def _take(self, peer: Peer, websocket: WebSocket, message: Message) -> None:
        if isinstance(message, CloseReceived):
            peer.close = message
            peer.connection.sendall(websocket.close(message.code))
        elif isinstance(message, str):
            said = self.said.setdefault(peer, [])
            said.append(json.loads(message))
            for fields in self._answer(said):
                whole = {"version": "2", "id": said[-1]["id"], "clientseq": said[-1]["seq"], "parameters": {}, **fields}
                peer.connection.sendall(websocket.text(json.dumps(whole)))


def well(said: Said) -> Said:
    """Answer as one should."""
    kind = said[-1]["type"]
    if kind == "open":
        return [{"type": "opened", "seq": 1, "parameters": {"media": [STEREO]}}]
    return [{"type": "closed", "seq": 2}] if kind == "close" else []
