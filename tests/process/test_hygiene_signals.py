"""Signals around a fork: each trap shown in a small program that breaks the rule, and the same program by our rule."""

import signal

from tests.process.running import run_program

INBOX = """
import os, selectors, signal
from audiohook.net.hygiene import fork_child
from audiohook.net.signals import SignalInbox
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell starts its background jobs with SIGINT ignored
inbox = SignalInbox()
inbox.install([signal.SIGTERM, signal.SIGINT])
r, w = os.pipe()
def wait_for_word():
    os.read(r, 1)
def end_of(pid):
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
"""


def test_trap_the_parent_reads_the_signal_that_its_child_was_sent() -> None:
    program = """
pid = os.fork()
if pid == 0:
    os.write(w, b"x")
    signal.sigtimedwait([], 1.0)
    os._exit(0)
wait_for_word()
os.kill(pid, signal.SIGTERM)
print(end_of(pid), inbox.drain())
"""
    # The child is not even ended by it: it took the parent's handler over too.
    assert run_program(INBOX + program) == f"0 [{signal.SIGTERM:d}]\n"


def test_a_childs_signals_are_its_own() -> None:
    program = """
def child():
    os.write(w, b"x")
    signal.pause()
    return 0
pid = fork_child(child, prepare=inbox.abandon, report_fd=2)
wait_for_word()
os.kill(pid, signal.SIGTERM)
print(end_of(pid), inbox.drain())
os.kill(os.getpid(), signal.SIGTERM)
print(inbox.drain())
"""
    assert run_program(INBOX + program) == f"{-signal.SIGTERM:d} []\n[{signal.SIGTERM:d}]\n"


def test_trap_a_signal_right_after_the_fork_is_swallowed_by_the_parents_handler() -> None:
    program = """
pid = os.fork()
if pid == 0:
    os.write(w, b"x")
    signal.sigtimedwait([], 0.5)       # the signal comes before the handlers are reset
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os._exit(0)
wait_for_word()
os.kill(pid, signal.SIGTERM)
print(end_of(pid))
"""
    assert run_program(INBOX + program) == "0\n"


def test_a_signal_right_after_the_fork_waits_until_the_child_is_itself() -> None:
    program = """
def prepare():
    inbox.abandon()
    os.write(w, b"x")
    while signal.SIGTERM not in signal.sigpending():
        pass
pid = fork_child(lambda: 0, prepare=prepare, report_fd=2)
wait_for_word()
os.kill(pid, signal.SIGTERM)
print(end_of(pid), inbox.drain(), signal.pthread_sigmask(signal.SIG_BLOCK, []))
"""
    assert run_program(INBOX + program) == f"{-signal.SIGTERM:d} [] set()\n"


def test_signals_that_come_during_the_fork_are_not_lost_to_the_parent() -> None:
    program = """
os.register_at_fork(before=lambda: os.kill(os.getpid(), signal.SIGTERM))
pid = fork_child(lambda: 0, prepare=inbox.abandon, report_fd=2)
print(end_of(pid), inbox.drain())
"""
    assert run_program(INBOX + program) == f"0 [{signal.SIGTERM:d}]\n"


def test_trap_an_interrupt_of_the_group_ends_a_child_with_default_handlers() -> None:
    program = """
os.setpgid(0, 0)
def child():
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.write(w, b"x")
    signal.pause()
    return 0
pid = fork_child(child, prepare=inbox.abandon, report_fd=2)
wait_for_word()
os.killpg(0, signal.SIGINT)
print(end_of(pid))
"""
    assert run_program(INBOX + program) == f"{-signal.SIGINT:d}\n"
    program = program.replace("    signal.signal(signal.SIGINT, signal.SIG_DFL)\n", "")
    program = program.replace("print(end_of", "os.kill(pid, signal.SIGTERM)\nprint(end_of")
    assert run_program(INBOX + program) == f"{-signal.SIGTERM:d}\n"


def test_trap_writing_to_a_peer_that_left_ends_a_child_with_the_default_sigpipe() -> None:
    program = """
import socket
def child():
    {}
    ours, theirs = socket.socketpair()
    theirs.close()
    try:
        ours.send(b"x")
    except BrokenPipeError:
        return 4
    return 5
signal.signal(signal.SIGPIPE, signal.SIG_DFL)
print(end_of(fork_child(child, prepare=inbox.abandon, report_fd=2)))
"""
    broken = program.format("signal.signal(signal.SIGPIPE, signal.SIG_DFL)")
    assert run_program(INBOX + broken) == f"{-signal.SIGPIPE:d}\n"
    assert run_program(INBOX + program.format("pass")) == "4\n"


def test_inbox_keeps_order_wakes_a_selector_and_gives_everything_back() -> None:
    program = """
selector = selectors.DefaultSelector()
selector.register(inbox, selectors.EVENT_READ)
print(len(selector.select(0)), inbox.drain())
os.kill(os.getpid(), signal.SIGTERM)
os.kill(os.getpid(), signal.SIGINT)
os.kill(os.getpid(), signal.SIGTERM)
print(len(selector.select(0)), [signal.Signals(number).name for number in inbox.drain()], inbox.drain())
before = len(os.listdir("/proc/self/fd"))
inbox.restore()
print(before - len(os.listdir("/proc/self/fd")), signal.set_wakeup_fd(-1))
print(signal.getsignal(signal.SIGTERM) == signal.SIG_DFL, signal.getsignal(signal.SIGINT) is signal.default_int_handler)
"""
    assert run_program(INBOX + program).splitlines() == [
        "0 []",
        "1 ['SIGTERM', 'SIGINT', 'SIGTERM'] []",
        "2 -1",
        "True True",
    ]


def test_inbox_holds_a_thousand_signals_that_nobody_reads() -> None:
    program = """
for _ in range(1000):
    os.kill(os.getpid(), signal.SIGTERM)
print(len(inbox.drain()))
"""
    assert run_program(INBOX + program) == "1000\n"


def test_a_forked_child_answers_for_its_stacks_from_its_birth_also_while_python_is_stuck() -> None:
    program = """
from audiohook.net.stacks import STACKS_SIGNAL, dump_stacks_when_asked
told_r, told_w = os.pipe()
os.dup2(told_w, 2)
dump_stacks_when_asked()
def prepare():
    os.kill(os.getpid(), STACKS_SIGNAL)         # pending: signals are blocked here
    inbox.abandon()
def child_here():
    os.write(w, b"x")
    int("7" * 4000) ** 4000                     # one bytecode, with the interpreter's lock held, for a long time
    return 0
pid = fork_child(child_here, prepare=prepare, report_fd=told_w)
wait_for_word()
os.kill(pid, STACKS_SIGNAL)
text = ""
while text.count("most recent call first") < 2 or text.count("in child_here") < 1:
    text += os.read(told_r, 65536).decode()
os.kill(pid, signal.SIGKILL)
print(end_of(pid))
"""
    assert run_program(INBOX + program) == f"{-signal.SIGKILL:d}\n"


def test_what_a_terminal_sends_to_a_group_does_not_stop_a_child() -> None:
    program = """
def child():
    os.write(w, b"x")
    signal.sigwait([signal.SIGUSR1])
    return 7
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
pid = fork_child(child, prepare=inbox.abandon, report_fd=2)
wait_for_word()
for number in (signal.SIGTTIN, signal.SIGTTOU, signal.SIGHUP, signal.SIGINT):
    os.kill(pid, number)
os.kill(pid, signal.SIGUSR1)
print(end_of(pid))
"""
    assert run_program(INBOX + program) == "7\n"
