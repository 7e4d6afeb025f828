"""The rows of the table, in its order."""

from tests.faults.row import Row
from tests.faults.rows import (
    burst,
    certificates,
    crash_loop,
    descriptors,
    garbage,
    kill_supervisor,
    kill_worker,
    overload,
    readers,
    reconnect,
    reload,
    slow_tls,
    slowloris,
    stall,
    stop_worker,
)

ROWS: tuple[Row, ...] = (
    kill_worker.ROW,
    burst.ROW,
    stop_worker.ROW,
    crash_loop.ROW,
    kill_supervisor.ROW,
    *readers.ROWS,
    overload.ROW,
    slowloris.ROW,
    slow_tls.ROW,
    garbage.ROW,
    descriptors.ROW,
    reconnect.ROW,
    reload.ROW,
    certificates.ROW,
    *stall.ROWS,
)
