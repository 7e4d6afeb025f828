"""A program that commands calls over hub.sock, in a process of its own: `python -m tests.process.asking …`.

ask HUB [UID [GID]]     answer each line of stdin (a request as JSON) with a line: the hub's answer, or
                        {"unavailable": "why"}; with UID and GID it gives up root first, when everything is imported
flood HUB REQUEST       send REQUEST as fast as the hub takes it and read what comes, until stdin ends; then
                        print how often each answer came, by slug ("ok" if it was done)
stuff HUB REQUEST       the same without ever reading; print "ended" when the hub has had enough
"""

import json
import os
import selectors
import socket
import sys
from collections import Counter

from audiohook.control import protocol
from audiohook.control.commander import MAX_ANSWER_BYTES, Commander
from audiohook.errors import HubUnavailable


def become(uid: int, gid: int) -> None:
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)


def ask(path: str, uid: str = "", gid: str = "65534") -> None:
    if uid:
        become(int(uid), int(gid))
    with Commander(path) as commander:
        print(json.dumps({"pid": os.getpid()}), flush=True)
        for line in sys.stdin:
            request = json.loads(line)
            try:
                answer = commander.ask(**request)
            except HubUnavailable as error:
                answer = {"unavailable": str(error)}
            print(json.dumps(answer), flush=True)


def connected(path: str) -> socket.socket:
    hub = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    hub.connect(path)
    hub.setblocking(False)
    print("connected", flush=True)
    return hub


def flood(path: str, request: str) -> None:
    hub = connected(path)
    answers: Counter[str] = Counter()
    selector = selectors.EpollSelector()
    selector.register(hub, selectors.EVENT_READ | selectors.EVENT_WRITE)
    selector.register(sys.stdin, selectors.EVENT_READ)
    while True:
        for key, mask in selector.select():
            if key.fileobj is sys.stdin:
                print(json.dumps(answers), flush=True)
                return
            if mask & selectors.EVENT_READ:
                answer = protocol.decode(hub.recv(MAX_ANSWER_BYTES))
                assert answer is not None, "the hub has closed the connection"
                answers["ok" if answer["ok"] else answer["slug"]] += 1
            if mask & selectors.EVENT_WRITE:
                try:
                    hub.send(request.encode())
                except BlockingIOError:
                    pass


def stuff(path: str, request: str) -> None:
    hub = connected(path)
    hub.setblocking(True)
    try:
        while True:
            hub.send(request.encode())
    except (BrokenPipeError, ConnectionResetError):
        print("ended", flush=True)


if __name__ == "__main__":
    {"ask": ask, "flood": flood, "stuff": stuff}[sys.argv[1]](*sys.argv[2:])
