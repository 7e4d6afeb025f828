"""A soak of some seconds: what it counts holds on any machine. That nothing grows is `make soak`'s to say."""

import pytest

from tests.faults.scene import daemon_for
from tests.soak.soaked import Soak

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
