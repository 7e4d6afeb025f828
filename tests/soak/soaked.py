"""One run: who comes and goes, what is looked at meanwhile, and what has to be as before when all are gone."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack

from audiohook.memory.event_ring import EventReader
from tests.faults.outcome import Outcome
from tests.soak.coming import TALKING, Waves, judge_waves
from tests.soak.gauges import IN_USE, Gauges, Reading
from tests.soak.growing import judge_flat
from tests.soak.guests import Holds, Readers, Refused
from tests.soak.lane import Lane
from tests.support.census import SLUGS
from tests.support.daemon import PATIENCE_S, Daemon, descriptors

LANES = 5
"""Of waves; with few calls fewer. Each of them is some processes."""

LOOK_S = 1.0
MINUTE_S = 60.0
Show = Callable[[Sequence[Reading]], None]

EXPECTED = frozenset({"peer_closed", "peer_vanished", "call_ended", "superseded"})
"""How calls end here, beside what `Refused` brings about; superseded: who was cut is back before his end was read."""


def settles(condition: Callable[[], bool]) -> bool:
    """Return whether a condition holds, as soon as it does, or at last."""
    give_up_s = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > give_up_s:
            return False
        time.sleep(LOOK_S / 10)  # between two looks
    return True


def lanes_of(daemon: Daemon, calls: int, until_s: float, seed: int) -> tuple[list[Waves], list[Lane], Refused]:
    """Return all that comes and goes: calls, of which so many are live on average, holds and readers, and strangers."""
    count = max(1, min(LANES, calls // 4))
    size = max(2, round(calls / TALKING / count))
    waves = [Waves(number, daemon, size, until_s, seed) for number in range(count)]
    others: list[Lane] = [make(daemon, until_s, seed) for make in (Holds, Readers)]
    return waves, others, Refused(daemon, calls, until_s, seed)


class Soak:
    """One run over a daemon that is ready. `show` is called with every minute's readings."""

    def __init__(self, daemon: Daemon, calls: int, seconds: float, seed: int) -> None:
        self.readings: list[Reading] = []
        self.outcome = Outcome(0)
        self._daemon = daemon
        self._calls = calls
        self._seconds = seconds
        self._seed = seed
        self.gauges = Gauges(daemon)
        self._before = daemon.descriptors_of_all(), self.gauges.ring_maps(), len(descriptors(self.gauges.pids["desk"]))
        arena = daemon.hub.arena
        self._rings = [EventReader(arena, row, oldest=True) for row in range(arena.geometry.rows + 1)]
        self._events = self._events_lost = 0
        self._counted = daemon.counters()

    def run(self, show: Show = lambda _: None) -> Outcome:
        """Let them come and go for the time, wait until all are gone, and return what was found."""
        until_s = time.monotonic() + self._seconds
        waves, others, refused = lanes_of(self._daemon, self._calls, until_s, self._seed)
        with ExitStack() as stack:
            lanes: list[Lane] = [*waves, *others, refused]
            for lane in lanes:
                stack.enter_context(lane)
            for lane in lanes:
                stack.callback(lane.stop)  # all of them are told before anybody is waited for
            shown_s = time.monotonic() + MINUTE_S
            while not all(lane.over for lane in lanes):
                self.readings.append(self.gauges.read())
                self._take_events()
                if time.monotonic() >= shown_s:
                    shown_s += MINUTE_S
                    show(self.readings)
                time.sleep(LOOK_S)  # between two looks
        for lane in lanes:
            self.outcome.count(not lane.failed, lane.failed or f"{lane.name}: {lane.rounds} rounds, {dict(lane.done)}")
        judge_waves(self.outcome, waves)
        self._judge_end(refused)
        judge_flat(self.outcome, self.readings)
        return self.outcome

    # ---------------------------------------------------------------------------------------- when all are gone

    def _judge_end(self, refused: Refused) -> None:
        daemon, found = self._daemon, self.outcome.count
        fds, maps, of_desk = self._before
        desk = self.gauges.pids["desk"]
        found(settles(lambda: daemon.live() == 0), f"connections that are left: {daemon.live()}")
        found(settles(lambda: not +self._in_use()), f"slots in use: {dict(+self._in_use()) or 'none'}")
        found(daemon.locked_slots() == [], f"slots that are locked: {daemon.locked_slots() or 'none'}")
        found(settles(lambda: daemon.watched() == []), f"slots that are watched: {daemon.watched() or 'none'}")
        found(settles(lambda: daemon.descriptors_of_all() == fds), f"descriptors: {self._other_descriptors(fds)}")
        found(settles(lambda: len(descriptors(desk)) == of_desk), f"{len(descriptors(desk))} descriptors of the desk")
        now = self.gauges.ring_maps()
        found(now == maps, f"mappings of the arena: {dict(now - maps) or 'as before'}")
        self._judge_counters(refused)
        self._judge_events()

    def _in_use(self) -> Counter[str]:
        states = self._daemon.slot_states()
        return Counter({state: states[state] for state in IN_USE})

    def _other_descriptors(self, before: Counter[str]) -> str:
        now = self._daemon.descriptors_of_all()
        return f"more {dict(now - before)}, less {dict(before - now)}" if now != before else "as before"

    def _judge_counters(self, refused: Refused) -> None:
        counted = self._daemon.counters() - self._counted
        outcome, expected = self.outcome, refused.counted()
        unexpected = {slug: n for slug, n in counted.items() if slug in SLUGS - EXPECTED and n != expected[slug]}
        outcome.timed(not counted["overloaded"], f"{counted['overloaded']} calls were refused as overloaded")
        unexpected.pop("overloaded", None)
        outcome.count(not unexpected, f"refused or closed otherwise than was asked for: {unexpected or 'nothing'}")
        wrong = {kind: counted[kind] for kind in expected if counted[kind] != expected[kind]}
        outcome.count(not wrong, f"{expected.total()} requests without a call, wrongly counted: {wrong or 'none'}")
        opened, ended = counted["streams_opened"], counted["streams_ended"]
        returned, parked = counted["returned"], counted["parked"]
        outcome.count(opened > 0, f"{opened} streams, {ended} ended by a worker, {parked} PARKED, {returned} returned")

    def _take_events(self) -> None:
        for ring in self._rings:
            texts, lost = ring.take()
            self._events += len(texts)
            self._events_lost += lost

    def _judge_events(self) -> None:
        """Nobody who looks once in a while is lapped, and each event is one record."""
        self._take_events()
        written = self.gauges.events_written()
        told = f"{written} events, {self._events} read, {self._events_lost} lost"
        self.outcome.count(self._events == written and not self._events_lost, told)
