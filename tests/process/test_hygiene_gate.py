"""Stop accepting: EPOLL_CTL_DEL, then close. And EPOLLEXCLUSIVE through a selector."""

from tests.process.running import run_program

SHARED_LISTENER = """
import os, selectors, signal, socket, time
from audiohook.net.gate import AcceptGate
from audiohook.net.listener import open_listener
listener = open_listener("127.0.0.1:0", 8)
address = listener.getsockname()
end, lifeline = os.pipe()
other = os.fork()          # another worker that has the same open file description
if other == 0:
    os.close(lifeline)
    os.read(end, 1)
    os._exit(0)
selector = selectors.EpollSelector()
gate = AcceptGate(selector, listener, "listener")
gate.open()
def stale_events():
    with socket.create_connection(address):
        epoll, events = selector._selector, 0
        until = time.monotonic() + 0.2
        while time.monotonic() < until and events < 1000:
            events += len(epoll.poll(0.05))
    return events
"""

END = """
os.close(lifeline)
os.waitpid(other, 0)
"""


def test_trap_close_before_unregister_leaves_an_event_that_never_ends() -> None:
    program = """
fd = listener.fileno()
listener.close()
try:
    selector._selector.unregister(fd)
    print("removed")
except OSError as error:
    print(error.strerror)
print(stale_events())
"""
    assert run_program(SHARED_LISTENER + program + END) == "Bad file descriptor\n1000\n"


def test_a_retired_gate_is_silent() -> None:
    program = """
gate.retire()
print(stale_events(), listener.fileno(), gate.is_open)
"""
    assert run_program(SHARED_LISTENER + program + END) == "0 -1 False\n"


def test_a_gate_opens_and_shuts_and_its_events_carry_its_data() -> None:
    program = """
def heard():
    with socket.create_connection(address):
        data = [key.data for key, _ in selector.select(0.05)]
        listener.accept()[0].close()
    return data
print(heard())
gate.open()
print(heard(), gate.is_open)
gate.shut()
gate.shut()
print(heard(), gate.is_open)
gate.open()
print(heard(), len(os.listdir("/proc/self/fd")))
for _ in range(100):
    gate.shut()
    gate.open()
print(heard(), len(os.listdir("/proc/self/fd")))
"""
    first, again, shut, opened, many = run_program(SHARED_LISTENER + program + END).splitlines()
    assert (first, again, shut) == ("['listener']", "['listener'] True", "[] False")
    assert opened == many
    assert opened.startswith("['listener']")


EIGHT_SLEEPERS = """
import os, select, selectors, signal, socket
from audiohook.net.gate import AcceptGate
from audiohook.net.listener import open_listener
listener = open_listener("127.0.0.1:0", 64)
asleep_r, asleep_w = os.pipe()
woken_r, woken_w = os.pipe()
sleepers = []
for _ in range(8):
    pid = os.fork()
    if pid == 0:
        selector = selectors.EpollSelector()
        gate = AcceptGate(selector, listener, "listener")
        {}
        os.write(asleep_w, b"x")
        selector.select()
        os.write(woken_w, b"w")
        signal.pause()
    sleepers.append(pid)
for _ in sleepers:
    os.read(asleep_r, 1)
def asleep(pid):
    return open("/proc/%d/stat" % pid).read().split()[2] == "S"
while not all(map(asleep, sleepers)):
    pass
with socket.create_connection(listener.getsockname()):
    woken = 0
    while select.select([woken_r], [], [], 0.5)[0]:
        woken += len(os.read(woken_r, 64))
for pid in sleepers:
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
print(woken)
"""


def test_trap_without_epollexclusive_one_connection_wakes_every_worker() -> None:
    assert run_program(EIGHT_SLEEPERS.format("selector.register(listener, selectors.EVENT_READ)")) == "8\n"


def test_a_gate_wakes_only_some() -> None:
    assert 1 <= int(run_program(EIGHT_SLEEPERS.format("gate.open()"))) < 8
