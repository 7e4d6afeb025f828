"""Something that comes and goes, again and again, in a thread of its own, and leaves when its time is over."""

import random
import threading
import time
from collections import Counter


class Lane:
    """One of them. From entering the `with` block to `until_s`, at which no new round is begun.

    What is random is drawn from `rng` alone. A round that fails ends the lane; `failed` says how.
    """

    def __init__(self, name: str, until_s: float, seed: int) -> None:
        self.name = name
        self.until_s = until_s
        self.rng = random.Random(f"{seed} {name}")
        self.rounds = 0
        self.done: Counter[str] = Counter()
        """How often it did what."""
        self.failed = ""
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name)

    def __enter__(self) -> "Lane":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._thread.join()

    def stop(self) -> None:
        """Give up what is being done. Does nothing when all is done."""
        self._stopped.set()

    def round(self) -> None:
        """Come and go once, within the time that is `left_s`."""
        raise NotImplementedError

    @property
    def left_s(self) -> float:
        return 0.0 if self._stopped.is_set() else max(0.0, self.until_s - time.monotonic())

    @property
    def over(self) -> bool:
        return not self._thread.is_alive()

    def pause(self, seconds: float) -> None:
        """Rest, but not when the run is given up."""
        self._stopped.wait(seconds)

    def _run(self) -> None:
        try:
            while self.left_s > 0:
                self.round()
                self.rounds += 1
        except Exception as error:
            self.failed = f"{self.name}: {type(error).__name__}: {str(error).partition(chr(10))[0]}"
