"""Stores two numbers in turn into one shared word: by `memoryview.cast("Q")`, or by `struct.pack_into`.

Arguments: descriptor of one page, manner (`cast` or `pack_into`).
"""

import mmap
import struct
import sys

FIRST, SECOND = 0x1111111111111111, 0x7FEEDDCCBBAA9988


def main() -> None:
    page = mmap.mmap(int(sys.argv[1]), 4096)
    words = memoryview(page).cast("Q")
    words[0] = FIRST
    words[8] = 1
    if sys.argv[2] == "cast":
        while True:
            words[0] = SECOND
            words[0] = FIRST
    pack = struct.Struct("<Q").pack_into
    while True:
        pack(page, 0, SECOND)
        pack(page, 0, FIRST)


if __name__ == "__main__":
    main()
