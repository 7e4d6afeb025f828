"""worker/strangers.py: what strangers can make happen costs a line a kind and minute, and nothing is left untold."""

import pytest

from audiohook.errors import REFUSALS
from audiohook.net.log_limit import LOG_EVERY_NS
from audiohook.worker.strangers import LOOK_EVERY_NS, Strangers


class Clock:
    now_ns = 1_000_000_000_000

    def __call__(self) -> int:
        return self.now_ns


def test_a_thousand_of_a_kind_are_two_lines(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    strangers = Strangers(clock)
    for number in range(1000):
        strangers.note_answer("request_malformed", f"192.0.2.{number % 250}")
        strangers.turn(clock.now_ns)
    clock.now_ns += LOG_EVERY_NS
    strangers.turn(clock.now_ns)
    strangers.turn(clock.now_ns + LOOK_EVERY_NS)
    assert caplog.messages == [
        "peer refused reason=request_malformed times=1 from=192.0.2.0",
        "peer refused reason=request_malformed times=999 from=192.0.2.249",
    ]


def test_kinds_are_apart_and_answers_that_are_no_refusal_are_silent(caplog: pytest.LogCaptureFixture) -> None:
    strangers = Strangers(Clock())
    strangers.note_answer("health_checks", "192.0.2.1")
    for refusal in REFUSALS:
        strangers.note_answer(refusal.slug, "192.0.2.1")
    noted_by_access = {"unauthorized", "forbidden_address"}
    assert caplog.messages == [
        f"peer refused reason={refusal.slug} times=1 from=192.0.2.1"
        for refusal in REFUSALS
        if refusal.slug not in noted_by_access
    ]
