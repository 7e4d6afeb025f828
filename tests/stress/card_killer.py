"""Kills writers of one card in the middle of it, again and again, and prints what it saw as JSON.

Arguments: arena descriptor, manner (`copies`: as `cards.py` does it; `seqlock`: odd while a write goes on), seconds.
"""

import json
import os
import random
import signal
import sys
import time
from typing import Any

from audiohook.memory import layout
from audiohook.memory.arena import Arena
from audiohook.memory.cards import new_card, read_card, update_card

ENOUGH_KILLS = 150
TEXTS = ("stream_id", "call_id", "session_id", "user_id", "participant_id", "ani", "dnis", "close_reason")


def fields_of(number: int) -> dict[str, int | str]:
    """Return what a card says whose epoch is `number`: every field can be told to belong to it or not."""
    texts = {name: (f"{number:010d}" * 12)[: layout.CARD[name].itemsize] for name in TEXTS}
    return {"epoch": number, "state": number % 8, "rate_hz": number & 0xFFFF, "ring_base": number, **texts}


def is_whole(card: dict[str, Any]) -> bool:
    return all(card[name] == value for name, value in fields_of(card["epoch"]).items())


def write_copies(arena: Arena) -> None:
    number = read_card(arena, 0)["epoch"]
    while True:
        number += 1
        (new_card if number % 2 else update_card)(arena, 0, **fields_of(number))


def write_seqlock(arena: Arena) -> None:
    words, at = arena.words, layout.card_word(arena.geometry, 0)
    version = words[at] + (words[at] & 1)
    number = version
    while True:
        number += 2
        words[at] = version + 1
        for name, value in fields_of(number).items():
            arena.cards[0, 0][name] = value.encode() if isinstance(value, str) else value
        version += 2
        words[at] = version


def main() -> None:
    arena, manner, seconds = Arena(int(sys.argv[1]), writable=True), sys.argv[2], float(sys.argv[3])
    version = layout.card_word(arena.geometry, 0)
    kills = odd = 0
    end = time.monotonic() + seconds
    while time.monotonic() < end or kills < ENOUGH_KILLS:
        pid = os.fork()
        if pid == 0:
            (write_seqlock if manner == "seqlock" else write_copies)(arena)
        time.sleep(random.uniform(0.0002, 0.002))
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        kills += 1
        odd += manner == "seqlock" and arena.words[version] & 1
    print(json.dumps({"kills": kills, "odd": odd}))


if __name__ == "__main__":
    main()
