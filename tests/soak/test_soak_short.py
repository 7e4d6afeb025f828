"""A soak of some seconds: what it counts holds on any machine. That nothing grows is `make soak`'s to say."""

import time

import pytest

from tests.faults.scene import daemon_for
from tests.soak.guests import Holds
from tests.soak.soaked import Soak
from tests.support.peer import call

CALLS = 8
SECONDS = 14.0


@pytest.mark.parametrize("seed", [1])
def test_what_comes_and_goes_leaves_nothing_and_loses_nothing(seed: int) -> None:
    # Beside other tests a worker may be late; that audio is shed then is not what is looked at here.
    with daemon_for(3 * CALLS, "server.overload_ms=10000", workers=2) as daemon:
        outcome = Soak(daemon.wait_ready(), CALLS, SECONDS, seed).run()
        assert outcome.wrong_counts == []
        assert outcome.calls > 0
        assert daemon.stop() == 0


def test_a_call_on_hold_whose_return_is_refused_is_not_waited_for() -> None:
    # The seed's first call is on hold for 1.5 s: time for another one, with which the host is full.
    with daemon_for(4, "admission.streams_per_host=1", workers=1) as daemon:
        with Holds(daemon.wait_ready(), time.monotonic() + 3600, seed=17) as lane:
            daemon.wait(lambda: daemon.slot_states()["PARKED"], "the call on hold")
            with call(daemon.address):
                daemon.wait(lambda: lane.over, "the end of the lane")
        assert "503" in lane.failed
        assert daemon.slot_states()["PARKED"] == 0
        assert daemon.stop() == 0
