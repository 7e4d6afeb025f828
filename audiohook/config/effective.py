"""What a configured 0 comes to on this machine."""

import os

from audiohook.config.schema import WORKER_ROWS, Config


def worker_count(config: Config) -> int:
    """Return how many workers to run: server.workers, or the CPUs of the affinity mask as far as the rows go."""
    most = WORKER_ROWS // (config.server.max_generations + 1)
    return config.server.workers or min(len(os.sched_getaffinity(0)), most)
