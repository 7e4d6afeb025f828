"""Makes new inputs of old ones, knowing where their pieces begin: frames, header lines, messages.

Two layers. Pieces are moved, repeated, taken from another input and damaged inside, then assembled: what comes out has
right lengths and masks and a wrong meaning, so it reaches the code behind the parser. After that, sometimes, the bytes
themselves are damaged, which is for the parser. All chance comes from one `random.Random`: a seed makes the same inputs
again.
"""

import random
from collections.abc import Callable, Sequence
from typing import TypeVar

from tests.fuzz.target import Pieces, Target

Thing = TypeVar("Thing")

MAX_INPUT_BYTES = 32_768
MAX_PIECES = 48

_NUMBERS = (
    b"\x00",
    b"\x01",
    b"\x7d",
    b"\x7e",
    b"\x7f",
    b"\x80",
    b"\xfe",
    b"\xff",
    b"\x00\x00",
    b"\xff\xff",
    b"\x7f\xff",
)


class Mutator:
    """Inputs without end. `seeds` must hold one at least."""

    def __init__(self, target: Target, seeds: Sequence[Pieces], choice: random.Random) -> None:
        self._seeds = [list(seed) for seed in seeds]
        self._assemble = target.assemble
        self._tokens = [*target.tokens, *_NUMBERS]
        self._choice = choice
        self._moves: tuple[Callable[[list[bytes]], None], ...] = (
            self._drop,
            self._repeat,
            self._swap,
            self._borrow,
            self._damage_piece,
            self._damage_piece,
            self._damage_piece,
        )
        self._damages: tuple[Callable[[bytearray, int], None], ...] = (
            self._flip,
            self._flip,
            self._set,
            self._insert_token,
            self._overwrite_token,
            self._delete,
            self._duplicate,
            self._truncate,
            self._stretch,
        )

    def next(self) -> bytes:
        """Return the next input."""
        pieces = list(self._one_of(self._seeds))
        for _ in range(self._few()):
            self._one_of(self._moves)(pieces)
        data = bytearray(self._assemble(pieces[:MAX_PIECES]))
        if self._choice.random() < 0.3:
            for _ in range(self._few()):
                self._damage(data)
        return bytes(data[:MAX_INPUT_BYTES])

    # random() and a product instead of randrange: a third of the time, and mutation is half of the work.

    def _below(self, bound: int) -> int:
        return int(self._choice.random() * bound)

    def _one_of(self, things: Sequence[Thing]) -> Thing:
        return things[int(self._choice.random() * len(things))]

    def _few(self) -> int:
        """Return 0 to 5, mostly 1 or 2: one fault at a time finds what many at once hide."""
        return (0, 1, 1, 1, 2, 2, 3, 5)[self._below(8)]

    # ---------------------------------------------------------------------------------------- pieces

    def _drop(self, pieces: list[bytes]) -> None:
        if pieces:
            del pieces[self._below(len(pieces))]

    def _repeat(self, pieces: list[bytes]) -> None:
        if pieces:
            at = self._below(len(pieces))
            pieces[at:at] = [pieces[at]] * (1 + self._below(3))

    def _swap(self, pieces: list[bytes]) -> None:
        if pieces:
            one, other = self._below(len(pieces)), self._below(len(pieces))
            pieces[one], pieces[other] = pieces[other], pieces[one]

    def _borrow(self, pieces: list[bytes]) -> None:
        donor = self._one_of(self._seeds)
        if donor:
            pieces.insert(self._below(len(pieces) + 1), self._one_of(donor))

    def _damage_piece(self, pieces: list[bytes]) -> None:
        if pieces:
            at = self._below(len(pieces))
            data = bytearray(pieces[at])
            self._damage(data)
            pieces[at] = bytes(data)

    # ---------------------------------------------------------------------------------------- bytes

    def _damage(self, data: bytearray) -> None:
        self._one_of(self._damages)(data, self._below(len(data) + 1))

    def _flip(self, data: bytearray, at: int) -> None:
        if at < len(data):
            data[at] ^= 1 << self._below(8)

    def _set(self, data: bytearray, at: int) -> None:
        if at < len(data):
            data[at] = self._below(256)

    def _insert_token(self, data: bytearray, at: int) -> None:
        data[at:at] = self._one_of(self._tokens)

    def _overwrite_token(self, data: bytearray, at: int) -> None:
        token = self._one_of(self._tokens)
        data[at : at + len(token)] = token

    def _delete(self, data: bytearray, at: int) -> None:
        del data[at : at + 1 + self._below(8)]

    def _duplicate(self, data: bytearray, at: int) -> None:
        data[at:at] = data[at : at + 1 + self._below(64)]

    def _truncate(self, data: bytearray, at: int) -> None:
        del data[at:]

    def _stretch(self, data: bytearray, at: int) -> None:
        """Repeat a few bytes very often, now and then: past a limit, or into a quadratic corner."""
        if self._choice.random() < 0.2:
            data[at:at] = bytes(data[at : at + 1 + self._below(4)]) * (1 << self._below(12))
