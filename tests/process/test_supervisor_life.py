"""The arbiter with real processes and signals: start, deaths, restarts, stop."""

import os
import signal
import socket

import pytest

from tests.process.running import Running, ask, read_answer
from tests.support.daemon import kill


def test_all_ready_is_announced_once_and_calls_are_answered() -> None:
    with Running("echo", "--workers", "3") as service:
        service.wait_for("ready")
        assert [event["generation"] for event in service.wait_for("worker", 3)] == [5, 5, 5]
        assert ask(service.address()) in {(row, service.pid_of(row)) for row in range(3)}
        service.wait_for("tick", 3)
        service.signal(signal.SIGTERM)
        assert service.wait_exit() == 0
        assert len(service.seen("ready")) == len(service.seen("stopping")) == 1
        assert len(service.seen("dead")) == 3


def test_killed_worker_is_marked_dead_and_then_replaced() -> None:
    with Running("echo") as service:
        service.wait_for("ready")
        os.kill(service.pid_of(1), signal.SIGKILL)
        service.wait_for("worker", 2, row=1)
        order = [(event["event"], event.get("row")) for event in service.events if event["event"] in ("dead", "worker")]
        assert order[2:] == [("dead", 1), ("worker", 1)]
        assert service.wait_logged("worker 1 ready", 2)
        assert service.logged("worker 1 was killed by signal 9")
        assert not service.seen("dead", row=0)
        service.signal(signal.SIGTERM)
        assert service.wait_exit() == 0
        assert len(service.seen("ready")) == 1


def test_crash_loop_backs_off() -> None:
    with Running("crash") as service:
        service.wait_for("ready")
        os.kill(service.pid_of(0), signal.SIGKILL)
        waits = service.wait_logged("worker 0 is restarted in", 3)
        assert [event["text"].rpartition(" in ")[2] for event in waits] == ["0.25 s", "0.5 s", "1 s"]
        assert len(service.seen("worker", row=0)) == 4  # the first life, the immediate restart, two after a wait
        assert ask(service.address())[0] == 1
        service.signal(signal.SIGTERM)
        assert service.wait_exit() == 0


@pytest.mark.parametrize(
    ("kind", "code", "message"),
    [
        ("boot_error", 3, "worker 1 cannot boot: the moon is full"),
        ("boot_exit_code", 42, "worker 1 cannot boot: an exit code of my own"),
        ("boot_exception", 1, "worker 1 cannot boot: ZeroDivisionError: by zero"),
    ],
)
def test_boot_failure_ends_the_service_with_the_workers_message_and_exit_code(
    kind: str, code: int, message: str
) -> None:
    with Running(kind, "--workers", "3") as service:
        assert service.wait_exit() == code
        assert len(service.logged(message)) == 1
        assert not service.seen("ready")
        assert len(service.seen("dead")) == 3
        assert not service.pids()


def test_worker_that_never_gets_ready_ends_the_service() -> None:
    with Running("mute", "--boot-seconds", "0.5") as service:
        assert service.wait_exit() == 3
        assert service.logged("worker 1 did not become ready within 0.5 s")


def test_restarted_worker_that_cannot_boot_does_not_end_the_service() -> None:
    with Running("boot_late_failure") as service:
        service.wait_for("ready")
        os.kill(service.pid_of(0), signal.SIGKILL)
        service.wait_logged("worker 0 cannot boot: not a second time", 2)
        assert ask(service.address())[0] == 1
        service.signal(signal.SIGTERM)
        assert service.wait_exit() == 0


def test_a_second_thread_ends_the_start_in_words() -> None:
    with Running("threaded") as service:
        assert service.wait_exit() == 3
        assert service.logged("OPENBLAS_NUM_THREADS=1")
        assert not service.seen("worker")


def test_term_drains_second_term_hurries() -> None:
    with Running("calls") as service:
        service.wait_for("ready")
        service.signal(signal.SIGTERM)
        service.wait_for("urged", 2, signal="SIGTERM")
        assert not service.seen("dead")
        service.signal(signal.SIGTERM)
        assert service.wait_exit() == 0
        assert len(service.seen("urged", signal="SIGQUIT")) == 2


def test_drain_deadline_hurries() -> None:
    with Running("calls", "--drain-seconds", "0.2") as service:
        service.wait_for("ready")
        service.signal(signal.SIGINT)
        assert service.wait_exit() == 0
        assert len(service.seen("urged", signal="SIGTERM")) == 2
        assert len(service.seen("urged", signal="SIGQUIT")) == 2


def test_third_signal_kills_workers_that_hear_nothing() -> None:
    with Running("stubborn") as service:
        service.wait_for("ready")
        kill(service.pid_of(0), signal.SIGSTOP)
        service.signal(signal.SIGTERM)
        service.wait_for("urged", row=1, signal="SIGTERM")
        service.signal(signal.SIGTERM)
        service.wait_for("urged", row=1, signal="SIGQUIT")
        service.signal(signal.SIGTERM)
        assert service.wait_exit() == 0
        assert len(service.logged("was killed by signal 9")) == 2


def test_stubborn_worker_is_killed_five_seconds_after_the_hurry_without_anybodys_help() -> None:
    with Running("stubborn", "--workers", "1", "--drain-seconds", "0") as service:
        service.wait_for("ready")
        service.signal(signal.SIGTERM)
        assert service.wait_exit() == 0
        assert service.seen("urged", signal="SIGQUIT")
        assert service.logged("worker 0 was killed by signal 9")


def test_last_words_of_a_dead_worker_signal_nobody_who_was_reaped() -> None:
    # "Ready" makes the policy urge the worker again: it must still hold its pid, else that pid may be a stranger's.
    with Running("last_words") as service:
        service.wait_for("worker", row=0)
        service.wait_logged("worker 1 ready")
        service.signal(signal.SIGTERM)
        assert service.wait_exit() == 0
        assert [event["row"] for event in service.seen("dead")] == [1, 0]
        assert service.logged("worker 0 ready")


def test_hup_is_answered_in_the_log_and_harms_nothing() -> None:
    with Running("echo") as service:
        service.wait_for("ready")
        service.signal(signal.SIGHUP)
        service.wait_logged("not reloaded: this supervisor cannot re-execute itself")
        assert ask(service.address())
        service.signal(signal.SIGTERM)
        assert service.wait_exit() == 0


def test_interrupt_of_the_whole_group_is_judged_by_the_supervisor_alone() -> None:
    with Running("calls") as service:
        service.wait_for("ready")
        os.killpg(service.pid, signal.SIGINT)
        service.wait_for("urged", 2, signal="SIGTERM")
        assert not service.seen("dead")
        service.signal(signal.SIGQUIT)
        assert service.wait_exit() == 0
        assert not service.logged("was killed")


def test_workers_learn_of_a_killed_supervisor_by_their_lifeline() -> None:
    with Running("echo", "--workers", "3", "--desk", "serves") as service:
        service.wait_for("ready")
        # A worker that came later must not hold the lifeline of the others open either.
        os.kill(service.pid_of(0), signal.SIGKILL)
        service.wait_logged("worker 0 ready", 2)
        service.signal(signal.SIGKILL)
        orphans = service.wait_for("orphan", 3)
        assert sorted(event["row"] for event in orphans) == [0, 1, 2]
        assert {event["read"] for event in orphans} == {0}
        service.wait_for("desk-orphan")
        assert service.wait_exit() == -signal.SIGKILL


def test_connections_in_the_queue_survive_a_killed_worker() -> None:
    with Running("deaf", "--workers", "1") as service:
        service.wait_for("ready")
        waiting = [socket.create_connection(service.address()) for _ in range(20)]
        first = service.pid_of(0)
        os.kill(first, signal.SIGKILL)
        answers = [read_answer(connection) for connection in waiting]
        for connection in waiting:
            connection.close()
        service.wait_for("worker", 2)
        assert set(answers) == {(0, service.pid_of(0))}
        assert service.pid_of(0) != first


def test_faulty_hooks_cost_a_line_in_the_log_and_nothing_else() -> None:
    with Running("echo", "--faulty-hooks") as service:
        service.wait_for("ready")
        os.kill(service.pid_of(1), signal.SIGKILL)
        service.wait_for("worker", 2, row=1)
        service.wait_for("tick", 3)
        service.wait_logged("a hook of the supervisor failed: KeyError: 'row'")
        assert len(service.logged("chores failed: ValueError: chore")) == 1
        service.signal(signal.SIGTERM)
        assert service.wait_exit() == 0
