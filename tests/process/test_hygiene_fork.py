"""Fork and exec hygiene: each trap shown in a small program that breaks the rule, and the same program by our rule."""

from tests.process.running import run_program

LOCK_HELD_BY_A_THREAD = """
import os, threading
lock, held, leave = threading.Lock(), threading.Event(), threading.Event()
def holder():
    with lock:
        held.set()
        leave.wait()
thread = threading.Thread(target=holder)
thread.start()
held.wait()
"""


def test_trap_a_lock_held_by_another_thread_stays_locked_in_the_child() -> None:
    program = """
pid = os.fork()
leave.set()
if pid == 0:
    os._exit(0 if lock.acquire(timeout=1.0) else 7)
thread.join()
with lock:
    print("free in the parent,", "in the child", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""
    assert run_program(LOCK_HELD_BY_A_THREAD + program) == "free in the parent, in the child 7\n"


def test_no_fork_with_a_second_thread() -> None:
    program = """
from audiohook.errors import BootError
from audiohook.net.hygiene import fork_child
try:
    fork_child(lambda: 0, prepare=lambda: None, report_fd=1)
except BootError as error:
    print(error)
leave.set()
"""
    assert run_program(LOCK_HELD_BY_A_THREAD + program).startswith("2 threads run")


def test_trap_importing_numpy_starts_threads_and_the_variable_prevents_it() -> None:
    program = """
import os
os.environ["OPENBLAS_NUM_THREADS"] = "{}"
import numpy
print(len(os.listdir("/proc/self/task")))
"""
    assert int(run_program(program.format(2))) > 1
    assert int(run_program(program.format(1))) == 1


def test_trap_what_is_buffered_before_a_fork_is_written_twice() -> None:
    program = """
import os, sys
print("once")
if os.fork() == 0:
    sys.stdout.flush()
    os._exit(0)
os.wait()
"""
    assert run_program(program) == "once\nonce\n"


def test_stdio_is_flushed_before_a_fork() -> None:
    program = """
import os
from audiohook.net.hygiene import fork_child
print("once")
fork_child(lambda: print("child") or 0, prepare=lambda: None, report_fd=1)
os.wait()
"""
    assert run_program(program) == "once\nchild\n"


def test_trap_an_exception_in_the_child_runs_the_parents_clean_up() -> None:
    program = """
import os, sys
parent = os.getpid()
try:
    pid = os.fork()
    if pid == 0:
        raise ValueError("in the child")
    os.waitpid(pid, 0)
finally:
    os.write(1, b"parent cleans up\\n" if os.getpid() == parent else b"child cleans up what is the parent's\\n")
"""
    assert run_program(program) == "child cleans up what is the parent's\nparent cleans up\n"


def test_an_exception_in_the_child_is_reported_and_ends_it() -> None:
    program = """
import os
from audiohook.errors import BootError
from audiohook.net.hygiene import fork_child
def fail(error):
    raise error
try:
    for error in (ValueError("in the child"), BootError("no disk"), SystemExit(5), KeyboardInterrupt()):
        pid = fork_child(lambda: fail(error), prepare=lambda: None, report_fd=1)
        os.write(1, b"%d\\n" % os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
finally:
    os.write(1, b"once\\n")
"""
    assert run_program(program).splitlines() == [
        "EValueError: in the child",
        "1",
        "Eno disk",
        "3",
        "ESystemExit: 5",
        "1",
        "EKeyboardInterrupt: ",
        "1",
        "once",
    ]


def test_trap_a_younger_sibling_holds_the_lifeline_of_the_elder_open() -> None:
    program = """
import os, select, signal
end, lifeline = os.pipe()
siblings = []
for _ in range(2):
    pid = os.fork()
    if pid == 0:
        signal.pause()  # holds `lifeline`, the write end, like any forked child that does not close it
    siblings.append(pid)
os.close(lifeline)
print("no end of file" if not select.select([end], [], [], 0.3)[0] else "end of file")
for pid in siblings:
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
print("no end of file" if not select.select([end], [], [], 30)[0] else "end of file")
"""
    # Ours: test_supervisor_life.py, "workers learn of a killed supervisor by their lifeline".
    assert run_program(program) == "no end of file\nend of file\n"


SHARED_EPOLL = """
import os, selectors
from audiohook.net.hygiene import fork_child
selector = selectors.EpollSelector()
r, w = os.pipe()
selector.register(r, selectors.EVENT_READ)
def child():
    {}
    return 0
fork_child(child, prepare=lambda: None, report_fd=1)
os.wait()
os.write(w, b"x")
print(len(selector.select(0.3)))
"""


def test_trap_unregistering_in_the_child_makes_the_parent_deaf() -> None:
    assert run_program(SHARED_EPOLL.format("selector.unregister(r)")) == "0\n"


def test_closing_the_inherited_selector_leaves_the_parents_alone() -> None:
    assert run_program(SHARED_EPOLL.format("selector.close()")) == "1\n"


LEAKED_LISTENER = """
import os, socket, sys
from audiohook.net.hygiene import exec_child
from audiohook.net.listener import open_listener
listener = open_listener("127.0.0.1:0", 8)
address = listener.getsockname()
os.set_inheritable(listener.fileno(), True)  # as a descriptor that a careless parent left us would be
end, lifeline = os.pipe()
argv = [sys.executable, "-c", "import os, sys; os.read(int(sys.argv[1]), 1)", str(end)]
{}
listener.close()
try:
    socket.create_connection(address, timeout=30).close()
    print("connected to nobody")
except ConnectionRefusedError:
    print("refused")
os.close(lifeline)
os.wait()
"""


def test_trap_a_listener_that_leaks_into_an_execed_child_goes_on_taking_connections() -> None:
    program = """
os.set_inheritable(end, True)
if os.fork() == 0:
    os.execv(argv[0], argv)
"""
    assert run_program(LEAKED_LISTENER.format(program)) == "connected to nobody\n"


def test_an_execed_child_gets_no_listener() -> None:
    program = """
r, w = os.pipe()
exec_child([*argv[:2], "import os; os.write(%d, b'R'); " % w + argv[2], argv[3]], {"report": w, "end": end})
os.read(r, 1)  # the exec is over
"""
    assert run_program(LEAKED_LISTENER.replace("{}", program)) == "refused\n"


def test_an_execed_child_finds_its_descriptors_by_name_and_closes_them_on_its_own_execs() -> None:
    program = """
import os, sys
from audiohook.net.hygiene import exec_child
r, w = os.pipe()
text = '''
import os
from audiohook.errors import BootError
from audiohook.net.hygiene import inherited_fds
fds = inherited_fds(os.environ)
os.write(fds["report"], ",".join(sorted(fds)).encode())
assert not any(os.get_inheritable(fd) for fd in fds.values())
try:
    inherited_fds(os.environ)
except BootError as error:
    print(error)
'''
exec_child([sys.executable, "-c", text], {"report": w, "gift": os.open("/dev/null", os.O_RDONLY)})
print(os.read(r, 100).decode(), os.waitstatus_to_exitcode(os.wait()[1]), os.get_inheritable(w))
"""
    said, own = run_program(program).splitlines()
    assert said.startswith("AUDIOHOOK_FDS is not set")
    assert own == "gift,report 0 False"
