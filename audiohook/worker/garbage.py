"""When the garbage collector runs: in idle turns, and at least once a minute. Never off.

h11's error paths make cycles, 3.3 KB a refusal: 10,000 strangers would be 32 MB. Live calls make none, but a full
collection looks at all of them (5.5 ms with 1,000), so what exists after the imports is frozen out of its sight and the
automatic collections are made rare.
"""

import gc

from audiohook.units import NS_PER_S

IDLE_EVERY_NS = 5 * NS_PER_S
AT_LEAST_EVERY_NS = 60 * NS_PER_S
THRESHOLDS = (20_000, 50, 50)


class GarbageTimes:
    """Decides in each turn; `prepare` once, in the worker, after its imports."""

    def __init__(self, now_ns: int) -> None:
        self._collected_ns = now_ns

    @staticmethod
    def prepare() -> None:
        gc.collect()
        gc.freeze()
        gc.set_threshold(*THRESHOLDS)

    def turn(self, now_ns: int, *, idle: bool) -> None:
        since_ns = now_ns - self._collected_ns
        if since_ns > AT_LEAST_EVERY_NS or (idle and since_ns > IDLE_EVERY_NS):
            gc.collect()
            self._collected_ns = now_ns
