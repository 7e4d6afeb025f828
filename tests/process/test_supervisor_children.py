"""What a child of the arbiter holds, what the arbiter holds after many of them, and the exec'ed desk."""

import os
import signal

from tests.process.running import Running, ask


def test_worker_holds_its_listener_its_two_pipes_and_its_line_and_nothing_of_the_supervisor() -> None:
    with Running("descriptors", "--workers", "3") as service:
        service.wait_for("ready")
        os.kill(service.pid_of(0), signal.SIGKILL)
        held = service.wait_for("held", 4)
        for event in held:
            assert set(event["held"]) == {str(fd) for fd in event["named"].values()}
            assert event["held"][str(event["named"]["listener"])].startswith("socket:")
        lifelines = {event["held"][str(event["named"]["lifeline"])] for event in held}
        reports = {event["held"][str(event["named"]["report"])] for event in held}
        lines = {event["held"][str(event["named"]["commands"])] for event in held}
        assert len(lifelines) == 1
        assert len(reports) == len(lines) == len(held)
        service.signal(signal.SIGTERM)
        assert service.wait_exit() == 0


def test_descriptors_of_the_supervisor_do_not_grow_over_fifty_deaths() -> None:
    rows = 13  # the first restarts of a row come quickly, so: many rows that die four times each
    with Running("echo", "--workers", str(rows)) as service:
        service.wait_for("ready")
        before = sorted(os.readlink(f"/proc/{service.pid}/fd/{fd}") for fd in os.listdir(f"/proc/{service.pid}/fd"))
        for life in range(1, 5):
            for row in range(rows):
                os.kill(service.pid_of(row), signal.SIGKILL)
            for row in range(rows):
                service.wait_logged(f"worker {row} ready", life + 1)
        assert len(service.seen("dead")) == 4 * rows
        after = sorted(os.readlink(f"/proc/{service.pid}/fd/{fd}") for fd in os.listdir(f"/proc/{service.pid}/fd"))
        assert len(after) == len(before)
        assert ask(service.address())[0] in range(rows)
        service.signal(signal.SIGTERM)
        assert service.wait_exit() == 0


def test_desk_is_execed_with_the_descriptors_that_it_was_given_and_no_other() -> None:
    with Running("echo", "--desk", "serves") as service:
        service.wait_for("ready")
        desk = service.wait_for("desk")[0]
        assert set(desk["fds"]) == {"gift", "lifeline", "report", "commands"}
        assert set(desk["held"]) == {str(fd) for fd in desk["fds"].values()}
        assert desk["held"][str(desk["fds"]["gift"])] == "/dev/null"
        assert desk["interrupt"], "Ctrl-C goes to the whole group and must not end the desk"
        service.signal(signal.SIGTERM)
        assert service.wait_exit() == 0
        dead = [event for event in service.events if event["event"] in ("dead", "log")]
        assert "desk" in dead[-2]["text"], "the desk ends last"


def test_killed_desk_comes_back_and_no_worker_notices() -> None:
    with Running("echo", "--desk", "serves") as service:
        service.wait_for("ready")
        os.kill(service.wait_for("desk")[0]["pid"], signal.SIGKILL)
        service.wait_for("desk", 2)
        service.wait_logged("desk ready", 2)
        assert not service.seen("dead")
        assert ask(service.address())
        service.signal(signal.SIGTERM)
        assert service.wait_exit() == 0


def test_desk_that_cannot_boot_ends_the_first_start_in_its_own_words() -> None:
    with Running("echo", "--desk", "fails") as service:
        assert service.wait_exit() == 6
        assert service.logged("desk cannot boot: no folder for the hub")


def test_desk_that_cannot_be_run_ends_the_first_start_in_words() -> None:
    with Running("echo", "--desk", "absent") as service:
        assert service.wait_exit() == 3
        assert service.logged("desk cannot boot: cannot run /nowhere/desk: No such file or directory")
