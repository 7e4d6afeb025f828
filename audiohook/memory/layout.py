"""The arena's layout, major version 1: every offset, every size, every number that two processes must agree on.

PURE: computes, maps nothing. `LAYOUT.md` is the contract in words; `layout_tables.py` renders its tables and
tests/unit/test_layout.py holds the two to one another. Invariants: every shared word is an aligned little-endian u64;
whatever one process writes while another reads lies on a cache line of its own; sections appear in the order of
`Geometry`, each on a page; fields are only ever appended, within the room that is left, for a new minor version.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from audiohook.units import SAMPLE_BYTES

PAGE_BYTES = 4096
LINE_BYTES = 64
WORD_BYTES = 8

MAGIC = 0x4B4F4F48  # "HOOK", read as a little-endian u32
MAJOR = 1
MINOR = 0
VERSION_WORD = MAGIC << 32 | MAJOR << 16 | MINOR

MAX_ROWS = 120
"""Rows of workers. futex_waitv takes 128 words, so one wait covers all of them and the supervisor's."""

HEADER = (
    "version",
    "arena_bytes",
    "arena_id_high",
    "arena_id_low",
    "created_monotonic_ns",
    "created_realtime_ns",
    "supervisor_pid",
    "state",
    "slots",
    "rows",
    "ring_bytes",
    "descriptors",
    "event_records",
    "rows_offset",
    "cards_offset",
    "cursors_offset",
    "descriptors_offset",
    "events_offset",
    "rings_offset",
)
"""Header words, in order from byte 0. `version` is stored last: while it is 0 the arena is not ready."""

SERVING, DRAINING, STOPPED = 1, 2, 3
ARENA_STATES = {SERVING: "serving", DRAINING: "draining", STOPPED: "stopped"}

# ------------------------------------------------------------------------------------------------ worker table

ROW_BYTES = 4096
ROW = ("pid", "generation", "state", "live", "heartbeat_ns", "started_ns", "memory_bytes", "cpu_ns")
"""Words of a row's first line. `live` counts open accepted sockets; `heartbeat_ns` is written by the loop itself."""

ROW_BELL = LINE_BYTES
"""Byte offset in a row of its doorbell: a word on a line of its own, the low half of which is the futex."""

ROW_FREE, ROW_BOOTING, ROW_ACCEPTING, ROW_DRAINING, ROW_DEAD = 0, 1, 2, 3, 4
ROW_STATES = {
    ROW_FREE: "free",
    ROW_BOOTING: "booting",
    ROW_ACCEPTING: "accepting",
    ROW_DRAINING: "draining",
    ROW_DEAD: "dead",
}

ROW_COUNTERS = 2 * LINE_BYTES
COUNTER_SLOTS = 128
COUNTERS = (
    "accepted",
    "streams_opened",
    "streams_ended",
    "packets",
    "wire_bytes",
    "decoded_frames",
    "concealed_packets",
    "empty_messages",
    "text_ignored",
    "degraded",
    "recovered",
    "no_audio",
    "bulk_turns",
    "bells",
    "peer_closed",
    "peer_vanished",
    "header_missing",
    "header_malformed",
    "request_malformed",
    "upgrade_malformed",
    "version_unsupported",
    "request_too_large",
    "request_timeout",
    "not_found",
    "method_not_allowed",
    "no_slot",
    "draining",
    "no_decoder",
    "protocol_error",
    "invalid_payload",
    "message_too_large",
    "shutdown",
    "heartbeat_lost",
    "send_stalled",
    "internal_error",
    "worker_died",
    "health_checks",
    "unusual_packets",
    "commands_done",
    "commands_refused",
    "unauthorized",
    "forbidden_address",
    "proxy_malformed",
    "bad_message",
    "foreign_organization",
    "open_timeout",
    "idle_timeout",
    "disconnected",
    "paused",
    "resumed",
    "probes",
    "peer_errors",
    "unknown_messages",
    "unknown_fields",
    "ignored_fields",
    "stray_messages",
    "stray_audio",
    "early_pings",
    "position_differs",
    "overlaps",
    "repeated_frames",
    "truncated_audio",
    "updates",
    "dtmf",
    "playback",
    "events_unsent",
    "looks_recut",
    "held",
    "unheld",
    "parked",
    "returned",
    "expected_back",
    "superseded",
    "call_ended",
    "hung",
    "host_full",
    "worker_full",
    "address_full",
    "organization_full",
    "address_crowded",
    "crowded_out",
    "exhausted",
    "overloaded",
    "shed_messages",
    "tls_handshakes",
    "tls_failed",
    "tls_timeout",
    "tls_reloads",
    "tls_reload_failed",
    "tls_probes",
    "tls_probe_failed",
)
"""Counters of a row, in order; appended to, never reordered. The slugs of `errors.py` are among them."""

ROW_HISTOGRAMS = ROW_COUNTERS + COUNTER_SLOTS * WORD_BYTES
HISTOGRAM_BUCKETS = 64
HISTOGRAMS = ("publish_ns", "packet_bytes", "turn_ns", "loop_lag_ns")
"""Histograms of a row: bucket b counts values v with v.bit_length() == b."""

# ------------------------------------------------------------------------------------------------ stream cards

FREE, OPENING, LIVE, PAUSED, HELD, PARKED, ENDED, ABORTED = range(8)
STREAM_STATES = ("FREE", "OPENING", "LIVE", "PAUSED", "HELD", "PARKED", "ENDED", "ABORTED")
OWNED_STATES = frozenset({OPENING, LIVE, PAUSED, HELD})
OVER_STATES = frozenset({ENDED, ABORTED})

FLAG_DEGRADED, FLAG_NO_AUDIO, FLAG_HELD, FLAG_TAKEN_ON, FLAG_RETURN = 1, 2, 4, 8, 16
"""TAKEN_ON: was PARKED, and goes on in the stream that `continued_by` names. RETURN: goes on where such a one ended."""
NO_SLOT = 0xFFFFFFFF

CARD_BYTES = 1536
CARD = np.dtype(
    {
        "names": (
            *("state", "flags", "row", "generation", "rate_hz", "channels", "close_code", "continues_slot"),
            *("epoch", "ring_base", "descriptor_base", "media_base"),
            *("opened_monotonic_ns", "opened_realtime_ns", "ended_monotonic_ns"),
            *("continues_epoch", "continued_by_epoch", "continued_by_slot"),
            *("dialect", "codec", "framing", "direction", "channel_names", "stream_id", "call_id"),
            *("session_id", "user_id", "participant_id", "organization_id", "ani", "dnis", "source_address"),
            *("end_reason", "close_reason"),
            *("parked_until_ns", "expected_until_ns", "last_packet_ns"),
        ),
        "formats": (
            *(("<u4",) * 8),
            *(("<u8",) * 10),
            *("S16", "S16", "S16", "S16", "S64", "S40", "S64"),
            *("S128", "S128", "S128", "S64", "S128", "S128", "S64"),
            *("S32", "S128"),
            *(("<u8",) * 3),
        ),
        "offsets": (
            *range(0, 32, 4),
            *range(32, 112, 8),
            *(112, 128, 144, 160, 176, 240, 280),
            *(344, 472, 600, 728, 792, 920, 1048),
            *(1112, 1144),
            *(1272, 1280, 1288),
        ),
        "itemsize": CARD_BYTES,
    }
)
CARD_VERSION_BYTES = LINE_BYTES
CARD_STRIDE = CARD_VERSION_BYTES + 2 * CARD_BYTES
"""A slot's card: the version word on its own line, then the two copies. Copy `version & 1` is the good one."""

# ------------------------------------------------------------------------------------------------ cursors, descriptors

CURSOR_BYTES = 512
CURSORS = ("claim", "commit", "d_claim", "d_commit", "epoch", "totals_version")
"""Cursor words of a slot, each on a line of its own, from byte 0 of the slot's cursor block."""

_CURSOR_WORDS = {name: number * LINE_BYTES // WORD_BYTES for number, name in enumerate(CURSORS)}

TOTALS_OFFSET = len(CURSORS) * LINE_BYTES
"""Byte offset in a cursor block of the two copies of the totals, a line each: `valid_from`, then one word a cause."""

DECODED, CONCEALED, PAUSE, DISCARD, HOLD, MASK, DROP, LOSS = range(8)
CAUSES = ("decoded", "concealed", "paused", "discarded", "held", "masked", "dropped", "lost")
GAP_CAUSES = frozenset(range(PAUSE, LOSS + 1))
CAUSE_MASK, MEASURED = 0xFF, 0x100
"""The `cause` column: the cause in its low byte, and MEASURED where a gap's length was taken from a clock."""

COLUMNS = ("media_first", "ring_first", "skip", "cause", "arrival_ns", "packets", "wire_bytes", "gaps_before")
"""Descriptor columns of a slot, each an array of `descriptors` words, stored one after the other."""

DESCRIPTOR_RING_BYTES = 320
"""The ring has a descriptor for each so many of its bytes: 10 ms of 16 kHz mono."""

DESCRIPTOR_MS = 10
"""A descriptor covers at least so much media before the next one of the same cause begins."""

GAP_STORED_MS = 1000
"""A gap stores at most so much silence in the ring (its end); the rest exists as its descriptor's `skip` only."""

# ------------------------------------------------------------------------------------------------ event rings

EVENT_BYTES = 1024
EVENT_TEXT_BYTES = EVENT_BYTES - WORD_BYTES
EVENT_CLAIM, EVENT_COMMIT = 0, LINE_BYTES
"""An event ring: words `claim` and `commit` (numbers of records, never reset) on lines of their own in a first page,
then records: a word with the text's length in bytes, and one JSON object in UTF-8."""


@dataclass(frozen=True)
class Geometry:
    """Sizes that the configuration decides, and the offset of every section that follows from them.

    Offsets are worked out once: a new stream asks for them a hundred times.
    """

    slots: int
    rows: int
    ring_bytes: int
    descriptors: int
    event_records: int

    @property
    def rows_offset(self) -> int:
        return PAGE_BYTES

    @cached_property
    def cards_offset(self) -> int:
        """One row more than `rows`: the last one is the supervisor's."""
        return self.rows_offset + (self.rows + 1) * ROW_BYTES

    @cached_property
    def cursors_offset(self) -> int:
        return whole_pages(self.cards_offset + self.slots * CARD_STRIDE)

    @cached_property
    def descriptors_offset(self) -> int:
        return whole_pages(self.cursors_offset + self.slots * CURSOR_BYTES)

    @cached_property
    def descriptor_block_bytes(self) -> int:
        """Bytes of one slot's descriptor columns."""
        return len(COLUMNS) * self.descriptors * WORD_BYTES

    @cached_property
    def events_offset(self) -> int:
        return whole_pages(self.descriptors_offset + self.slots * self.descriptor_block_bytes)

    @cached_property
    def event_ring_bytes(self) -> int:
        return PAGE_BYTES + whole_pages(self.event_records * EVENT_BYTES)

    @cached_property
    def rings_offset(self) -> int:
        return self.events_offset + (self.rows + 1) * self.event_ring_bytes

    @cached_property
    def arena_bytes(self) -> int:
        return self.rings_offset + self.slots * self.ring_bytes

    def ring_offset(self, slot: int) -> int:
        return self.rings_offset + slot * self.ring_bytes

    @property
    def supervisor_row(self) -> int:
        return self.rows


RING_RATE_HZ = 16_000
RING_STEP_BYTES = 65_536


def geometry(slots: int, rows: int, ring_seconds: float, event_records: int) -> Geometry:
    """Return the geometry for `ring_seconds` of 16 kHz mono a slot, and a little more.

    The ring is rounded up to 64 KiB, after room for the longest packet (120 ms), which `claim` runs ahead by:
    30 s become 983,040 bytes, 30.72 s.
    """
    wanted = round(ring_seconds * RING_RATE_HZ) * SAMPLE_BYTES + RING_RATE_HZ * SAMPLE_BYTES * 120 // 1000
    ring_bytes = -(-wanted // RING_STEP_BYTES) * RING_STEP_BYTES
    return Geometry(slots, rows, ring_bytes, -(-ring_bytes // DESCRIPTOR_RING_BYTES), event_records)


def whole_pages(size_bytes: int) -> int:
    return -(-size_bytes // PAGE_BYTES) * PAGE_BYTES


def card_word(geometry: Geometry, slot: int) -> int:
    """Return the index of a slot's card version among the words of the arena."""
    return (geometry.cards_offset + slot * CARD_STRIDE) // WORD_BYTES


def cursor_word(geometry: Geometry, slot: int, name: str) -> int:
    """Return the index of a slot's cursor word among the words of the arena."""
    return (geometry.cursors_offset + slot * CURSOR_BYTES) // WORD_BYTES + _CURSOR_WORDS[name]


def cursor_words(geometry: Geometry, slot: int) -> range:
    """Return the indices of all of a slot's cursor words, in the order of CURSORS."""
    start = (geometry.cursors_offset + slot * CURSOR_BYTES) // WORD_BYTES
    return range(start, start + TOTALS_OFFSET // WORD_BYTES, LINE_BYTES // WORD_BYTES)


def column_words(geometry: Geometry, slot: int) -> range:
    """Return the indices of the first words of all of a slot's descriptor columns, in the order of COLUMNS."""
    start = (geometry.descriptors_offset + slot * geometry.descriptor_block_bytes) // WORD_BYTES
    return range(start, start + len(COLUMNS) * geometry.descriptors, geometry.descriptors)


def totals_word(geometry: Geometry, slot: int, copy: int) -> int:
    """Return the index of the first word of one of the two copies of a slot's totals."""
    return (geometry.cursors_offset + slot * CURSOR_BYTES + TOTALS_OFFSET + copy * LINE_BYTES) // WORD_BYTES


def column_word(geometry: Geometry, slot: int, name: str) -> int:
    """Return the index of the first word of a slot's descriptor column."""
    block = geometry.descriptors_offset + slot * geometry.descriptor_block_bytes
    return block // WORD_BYTES + COLUMNS.index(name) * geometry.descriptors


def row_word(geometry: Geometry, row: int, name: str) -> int:
    """Return the index of a worker row's word; `bell` is its doorbell."""
    start = geometry.rows_offset + row * ROW_BYTES
    return (start + (ROW_BELL if name == "bell" else ROW.index(name) * WORD_BYTES)) // WORD_BYTES


def counter_word(geometry: Geometry, row: int, name: str) -> int:
    """Return the index of a worker row's counter."""
    return (geometry.rows_offset + row * ROW_BYTES + ROW_COUNTERS) // WORD_BYTES + COUNTERS.index(name)


def histogram_word(geometry: Geometry, row: int, name: str) -> int:
    """Return the index of bucket 0 of a worker row's histogram."""
    start = (geometry.rows_offset + row * ROW_BYTES + ROW_HISTOGRAMS) // WORD_BYTES
    return start + HISTOGRAMS.index(name) * HISTOGRAM_BUCKETS


def event_offset(geometry: Geometry, row: int) -> int:
    """Return the byte offset of a row's event ring."""
    return geometry.events_offset + row * geometry.event_ring_bytes
