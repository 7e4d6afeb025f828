"""A small service under the real arbiter, for the tests of this folder: `python supervised.py KIND [--workers N] ...`.

Everything that happens is one JSON line on stdout, written with one `write` each, so that lines of several processes
do not mix: {"event": "worker", "row": 0, "pid": 1234}, {"event": "ready"}, {"event": "dead", "row": 0} and so on.
`KIND` is what the workers do, `desk-...` what the desk does; each is a function below.
"""

import argparse
import json
import os
import selectors
import signal
import sys
import threading
from collections.abc import Callable, Mapping

from audiohook.control.commands import READ_BYTES, Command, Reply, Status, Verb, encode_command, encode_reply
from audiohook.errors import BootError
from audiohook.net.gate import AcceptGate
from audiohook.net.hygiene import inherited_fds
from audiohook.net.listener import bound_address, open_listener
from audiohook.net.seat import WorkerSeat, report_failure, report_ready
from audiohook.net.signals import SignalInbox
from audiohook.supervisor.arbiter import Arbiter
from audiohook.supervisor.hooks import DeskCommand, Hooks
from audiohook.supervisor.plan import Plan
from audiohook.supervisor.switchboard import Switchboard
from audiohook.units import seconds_ns


def say(event: str, **fields: object) -> None:
    os.write(1, json.dumps({"event": event, **fields}).encode() + b"\n")


def held_fds() -> dict[str, str]:
    """Return what each descriptor of this process is, as the kernel names it; stdio left out."""
    held = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            held[name] = os.readlink(f"/proc/self/fd/{name}")
        except FileNotFoundError:
            continue  # the listing's own
    return {name: what for name, what in held.items() if int(name) > 2}


# Workers


def serve(seat: WorkerSeat, on_signal: Callable[[int], bool], accepts: bool = True) -> int:
    """Answer every connection with "row pid"; leave when `on_signal` says so or the lifeline closes."""
    inbox = SignalInbox()
    inbox.install([signal.SIGTERM, signal.SIGQUIT])
    selector = selectors.EpollSelector()
    selector.register(inbox, selectors.EVENT_READ, "signals")
    selector.register(seat.lifeline_fd, selectors.EVENT_READ, "lifeline")
    if accepts:
        for listener in seat.listeners:
            AcceptGate(selector, listener, "listener").open()
    say("worker", row=seat.row, pid=os.getpid(), generation=seat.generation)
    report_ready(seat.report_fd)
    while True:
        for key, _ in selector.select():
            if key.data == "lifeline":
                say("orphan", row=seat.row, read=len(os.read(seat.lifeline_fd, 1)))
                return 0
            if key.data == "listener":
                answer(seat)
            if key.data == "signals":
                leave = [on_signal(number) for number in inbox.drain()]
                if any(leave):
                    return 0


def answer(seat: WorkerSeat) -> None:
    try:
        connection, _ = seat.listeners[0].accept()
    except BlockingIOError:
        return
    with connection:
        connection.sendall(f"{seat.row} {os.getpid()}\n".encode())


def echo(seat: WorkerSeat) -> int:
    return serve(seat, lambda _: True)


def deaf(seat: WorkerSeat) -> int:
    """Row 0 of the first life accepts nothing, so that connections queue."""
    return serve(seat, lambda _: True, accepts=bool(os.environ.pop("SECOND_LIFE", "")))


def calls(seat: WorkerSeat) -> int:
    """As if a call lasted for ever: SIGTERM is noted, SIGQUIT ends it."""

    def on_signal(number: int) -> bool:
        say("urged", row=seat.row, signal=signal.Signals(number).name)
        return number == signal.SIGQUIT

    return serve(seat, on_signal)


def stubborn(seat: WorkerSeat) -> int:
    def on_signal(number: int) -> bool:
        say("urged", row=seat.row, signal=signal.Signals(number).name)
        return False

    return serve(seat, on_signal)


def crash(seat: WorkerSeat) -> int:
    """The first life goes well; row 0's next ones end as soon as they have begun."""
    if seat.row == 0 and os.environ.get("SECOND_LIFE"):
        say("worker", row=seat.row, pid=os.getpid(), generation=seat.generation)
        return 9
    return echo(seat)


def boot_error(seat: WorkerSeat) -> int:
    if seat.row == 1:
        raise BootError("the moon is\nfull")
    return echo(seat)


def boot_exit_code(seat: WorkerSeat) -> int:
    if seat.row == 1:
        report_failure(seat.report_fd, "an exit code of my own")
        return 42
    return echo(seat)


def boot_exception(seat: WorkerSeat) -> int:
    if seat.row == 1:
        raise ZeroDivisionError("by zero")
    return echo(seat)


def boot_late_failure(seat: WorkerSeat) -> int:
    """Boots the first time only."""
    if seat.row == 0 and os.environ.get("SECOND_LIFE"):
        raise BootError("not a second time")
    return echo(seat)


def mute(seat: WorkerSeat) -> int:
    if seat.row == 1:
        signal.pause()
    return echo(seat)


def descriptors(seat: WorkerSeat) -> int:
    named = {
        "lifeline": seat.lifeline_fd,
        "report": seat.report_fd,
        "commands": seat.command_fd,
        "listener": seat.listeners[0].fileno(),
    }
    say("held", row=seat.row, held=held_fds(), named=named)
    return echo(seat)


def threaded(seat: WorkerSeat) -> int:
    return echo(seat)


def babbling(seat: WorkerSeat) -> int:
    """Row 0 orders about, which is the desk's to do."""
    if seat.row == 0:
        os.write(seat.command_fd, encode_command(Command(1, Verb.END, 0, 1)))
    return echo(seat)


GATE: list[int] = []
"""A pipe of the kind `last_words`."""


def last_words(seat: WorkerSeat) -> int:
    """Row 0 says that it is ready and dies at once, while the supervisor is busy with the death of row 1."""
    if seat.row == 1:
        return echo(seat)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    say("worker", row=seat.row, pid=os.getpid(), generation=seat.generation)
    os.read(GATE[0], 1)
    report_ready(seat.report_fd)
    return 0


def let_row_0_die() -> None:
    os.write(GATE[1], b"x")
    os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)


WORKERS: dict[str, Callable[[WorkerSeat], int]] = {
    function.__name__: function
    for function in (
        echo,
        deaf,
        calls,
        stubborn,
        crash,
        boot_error,
        boot_exit_code,
        boot_exception,
        boot_late_failure,
        mute,
        descriptors,
        threaded,
        babbling,
        last_words,
    )
}


# The desk: this program once more, exec'ed

SAID = {"asks": encode_command(Command(1, Verb.PAUSE, 7, 1))}
GARBAGE = {
    "stammers": b"x",
    "shouts": bytes(READ_BYTES + 1000),
    "replies": encode_reply(Reply(1, Status.OK)),
    "takes over": encode_command(Command(1, Verb.TAKEOVER, 0, 1)),
}


def desk(kind: str) -> int:
    held = held_fds()
    fds = inherited_fds(os.environ)
    say("desk", pid=os.getpid(), held=held, fds=fds, interrupt=signal.getsignal(signal.SIGINT) == signal.SIG_IGN)
    if kind == "fails":
        report_failure(fds["report"], "no folder for the hub")
        return 6
    report_ready(fds["report"])
    if kind in SAID | GARBAGE:
        os.write(fds["commands"], (SAID | GARBAGE)[kind])
        with selectors.EpollSelector() as selector:
            selector.register(fds["commands"], selectors.EVENT_READ)
            selector.select()
        say("heard", bytes=len(os.read(fds["commands"], READ_BYTES)))
    os.read(fds["lifeline"], 1)
    say("desk-orphan")
    return 0


# The supervisor


def supervise(options: argparse.Namespace) -> int:
    listener = open_listener("127.0.0.1:0", 64)
    say("listening", address=bound_address(listener), pid=os.getpid())
    ticks = 0

    def log(level: str, text: str, fields: Mapping[str, object]) -> None:
        say("log", level=level, text=text, fields=dict(fields))

    def on_ready() -> None:
        os.environ["SECOND_LIFE"] = "1"
        say("ready")

    def on_tick() -> None:
        nonlocal ticks
        ticks += 1
        if ticks <= 3:
            say("tick")
        if options.faulty_hooks:
            raise ValueError("chore")

    def on_dead(row: int) -> None:
        say("dead", row=row)
        if options.faulty_hooks:
            raise KeyError("row")
        if options.kind == "last_words" and row == 1:
            let_row_0_die()

    def whereabouts(slot: int) -> None:
        if options.faulty_hooks:
            raise LookupError(f"slot {slot}")

    hooks = Hooks(
        log=log,
        on_forked=lambda row, fd: say("forked", row=row, line=os.get_inheritable(fd)),
        on_dead=on_dead,
        on_ready=on_ready,
        on_stopping=lambda: say("stopping"),
        on_hung=lambda _: None,
        on_scaled=lambda done: say("scaled", workers=done.after),
        on_reload=lambda ended: say("reload", kind=type(ended).__name__),
        on_reload_refused=lambda refused: say("reload_refused", text=refused.text),
        on_tick=on_tick,
        # No memory, so no heartbeat: nobody is ever hung here.
        heartbeats=lambda: [ticks] * options.workers * 2,
        loads=list,
    )
    command = None
    if options.desk:
        argv = ("/nowhere/desk",) if options.desk == "absent" else (sys.executable, __file__, f"desk-{options.desk}")
        command = DeskCommand(argv=argv, fds={"gift": os.open("/dev/null", os.O_RDONLY)})
    plan = Plan(
        workers=options.workers,
        rows=2 * options.workers,
        desk=bool(options.desk),
        boot_ns=seconds_ns(options.boot_seconds),
        drain_ns=seconds_ns(options.drain_seconds),
        generation=5,
    )
    if options.kind == "threaded":
        threading.Thread(target=threading.Event().wait, daemon=True).start()
    if options.kind == "last_words":
        GATE[:] = os.pipe()
    # No memory, so no stream to command; tests/process/commanded.py has both.
    switchboard = Switchboard(whereabouts, lambda asked: asked.gone(), lambda _: None)
    code = Arbiter(plan, [listener], WORKERS[options.kind], hooks, switchboard, command).run()
    say("exit", code=code)
    return code


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("kind")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--desk", default="")
    parser.add_argument("--boot-seconds", type=float, default=30)
    parser.add_argument("--drain-seconds", type=float, default=60)
    parser.add_argument("--faulty-hooks", action="store_true")
    options = parser.parse_args()
    if options.kind.startswith("desk-"):
        return desk(options.kind.removeprefix("desk-"))
    return supervise(options)


if __name__ == "__main__":
    sys.exit(main())
