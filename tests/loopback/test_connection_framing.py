"""The framing policies behind real connections: what a stream that is cut anew is told, and what its audio becomes."""

import logging

import pytest

from audiohook.codec.framing_self_delimited import self_delimited
from tests.support.calls import CALL_ID, call_terms, close_frame, context_terms, frame
from tests.support.connections import connections
from tests.support.opus_streams import packets


def test_a_stream_that_is_cut_anew_is_told_to_readers_and_to_the_operator(caplog: pytest.LogCaptureFixture) -> None:
    """One event, one count and one line a stream; its audio goes on as it came, each message a packet."""
    whole = b"".join(packets("speech", constant=True))
    messages = [whole[at : at + 700] for at in range(0, len(whole), 700)]
    with connections() as worker, caplog.at_level(logging.WARNING, "audiohook.worker"):
        peer = worker.connect().upgraded()
        for message in messages:
            peer.send(frame(message))
        worker.until(lambda: worker.count("packets") == len(messages))
        peer.send(close_frame(1000)).gone()
        events = {event["event"]: event for event in worker.events()}
        assert [*events] == ["stream_started", "looks_recut", "stream_ended"]
        started, recut = events["stream_started"], events["looks_recut"]
        assert (recut["framing"], recut["stream"], recut["call"]) == ("fixed:60", started["stream"], CALL_ID)
        assert worker.count("looks_recut") == 1
        (line,) = [record.getMessage() for record in caplog.records if "looks_recut" in record.getMessage()]
        assert started["stream"] in line
        assert "'fixed:60'" in line


@pytest.mark.parametrize("constant", [True, False])
def test_a_good_stream_is_told_nothing(constant: bool) -> None:
    sent = packets("speech", constant=constant)
    with connections() as worker:
        peer = worker.connect().upgraded()
        for packet in sent:
            peer.send(frame(packet))
        worker.until(lambda: worker.count("packets") == len(sent))
        assert [event["event"] for event in worker.events()] == ["stream_started"]
        assert worker.count("looks_recut") == 0


def test_self_delimited_packets_in_any_messages() -> None:
    """The last one never becomes whole: its time is filled in at the close."""
    sent = packets("speech")[:30]
    stream = b"".join(self_delimited(packet) for packet in sent)[:-1]
    with connections(call_terms(context_terms(framing="self_delimited"))) as worker:
        peer = worker.connect().upgraded()
        for at in range(0, len(stream), 47):
            peer.send(frame(stream[at : at + 47]))
        peer.send(close_frame(1000)).gone()
        assert worker.card(0)["framing"] == "self_delimited"
        totals = worker.memory.stream(0).totals
        assert (totals.length, totals.concealed, totals.packets) == (30 * 320, 320, 30)
        assert (worker.count("decoded_frames"), worker.count("concealed_packets")) == (29 * 320, 1)
