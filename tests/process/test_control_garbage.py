"""A desk or a worker that says what it may not loses its command line. The supervisor, and the others, go on."""

import os
import signal

import pytest

from audiohook.control.commands import Reply, Status, encode_reply
from tests.process.running import Running, ask
from tests.process.supervised import GARBAGE

NO_COMMAND = "sent what is no command of its kind: its command line is closed"


@pytest.mark.parametrize("kind", GARBAGE)
def test_a_desk_that_sends_garbage_is_cut_off_and_the_supervisor_goes_on(kind: str) -> None:
    with Running("echo", "--desk", kind) as service:
        service.wait_for("ready")
        assert service.wait_for("heard")[0]["bytes"] == 0, "the end of its line"
        service.wait_logged(f"the desk {NO_COMMAND}")
        os.kill(service.pid_of(0), signal.SIGKILL)
        service.wait_logged("worker 0 ready", 2)
        assert ask(service.address())
        os.kill(service.wait_for("desk")[0]["pid"], signal.SIGKILL)
        service.wait_for("desk", 2)
        service.wait_logged(f"the desk {NO_COMMAND}", 2)  # the new one had a line, too
        service.signal(signal.SIGTERM)
        assert service.wait_exit() == 0


def test_a_command_that_is_one_is_answered() -> None:
    with Running("echo", "--desk", "asks") as service:
        assert service.wait_for("heard")[0]["bytes"] == len(encode_reply(Reply(1, Status.GONE)))
        assert not service.logged("command line")


def test_a_fault_of_our_own_costs_a_command_line_and_nothing_else() -> None:
    with Running("echo", "--desk", "asks", "--faulty-hooks") as service:
        assert service.wait_for("heard")[0]["bytes"] == 0
        service.wait_logged("the command line of the desk failed: LookupError: slot 7")
        service.wait_for("ready")
        os.kill(service.pid_of(1), signal.SIGKILL)
        service.wait_logged("worker 1 ready", 2)
        assert ask(service.address())
        service.signal(signal.SIGTERM)
        assert service.wait_exit() == 0


def test_a_worker_that_sends_garbage_is_cut_off_and_serves_on() -> None:
    with Running("babbling", "--workers", "2") as service:
        service.wait_for("ready")
        service.wait_logged(f"worker 0 {NO_COMMAND}")
        assert not service.logged("worker 1 sent")
        assert {ask(service.address())[0] for _ in range(50)} <= {0, 1}
        assert not service.seen("dead")
        service.signal(signal.SIGTERM)
        assert service.wait_exit() == 0
