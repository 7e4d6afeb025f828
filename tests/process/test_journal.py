"""Log lines in the journal's native protocol: a datagram socket stands for journald and reads what arrives."""

import io
import logging
import os
import select
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from audiohook.net import journal
from audiohook.net.journal import JournalHandler, encode, is_journal


class Journal:
    """The receiving end, and a logger that writes to it."""

    def __init__(self, folder: Path) -> None:
        self.path = str(folder / "socket")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)
        self.socket.settimeout(10)
        self.fallback = io.StringIO()
        self.handler = JournalHandler(logging.StreamHandler(self.fallback), self.path)
        self.log = logging.Logger("tested", logging.DEBUG)
        self.log.addHandler(self.handler)

    def read(self) -> dict[str, str]:
        """Take a datagram apart as systemd.io/JOURNAL_NATIVE_PROTOCOL says."""
        data = self.socket.recv(1 << 20)
        fields = {}
        while data:
            line, _, rest = data.partition(b"\n")
            name, equals, value = line.partition(b"=")
            if not equals:
                length = int.from_bytes(rest[:8], "little")
                value, rest = rest[8 : 8 + length], rest[9 + length :]
            fields[name.decode()] = value.decode()
            data = rest
        return fields


@pytest.fixture(name="journal_")
def _journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Journal]:
    monkeypatch.setattr(journal, "_row", None)
    made = Journal(tmp_path)
    yield made
    made.handler.close()
    made.socket.close()


def test_names_come_from_the_format_and_values_from_the_arguments(journal_: Journal) -> None:
    journal_.log.info("100%% done stream=%s call=%s seconds=%.1f reason=%s", "s-1", "c-1 call=c-2", 2.0, "peer_closed")
    assert journal_.read() == {
        "MESSAGE": "100% done stream=s-1 call=c-1 call=c-2 seconds=2.0 reason=peer_closed",
        "PRIORITY": "6",
        "SYSLOG_IDENTIFIER": "audiohookd",
        "STREAM": "s-1",
        "CALL_ID": "c-1 call=c-2",
        "REASON": "peer_closed",
    }


def test_a_peer_s_text_makes_no_field(journal_: Journal) -> None:
    journal_.log.warning("peer said %s", "call=forged stream=forged\nCALL_ID=forged")
    fields = journal_.read()
    assert fields["MESSAGE"] == "peer said call=forged stream=forged\nCALL_ID=forged"
    assert set(fields) == {"MESSAGE", "PRIORITY", "SYSLOG_IDENTIFIER"}
    assert fields["PRIORITY"] == "4"


def test_fields_can_be_given(journal_: Journal) -> None:
    journal_.log.error("%s%s", "worker 3 is hung", " row=3", extra={"fields": {"row": 3, "pid": 77}})
    fields = journal_.read()
    assert fields["WORKER_ROW"] == "3"
    assert fields["PRIORITY"] == "3"
    assert "PID" not in fields


def test_a_worker_s_lines_carry_its_row_unless_they_name_another(journal_: Journal) -> None:
    journal.note_row(5)
    journal_.log.info("plain")
    journal_.log.info("other row=%d", 6)
    assert [journal_.read()["WORKER_ROW"] for _ in range(2)] == ["5", "6"]


def test_an_exception_comes_with_its_stack(journal_: Journal) -> None:
    try:
        raise ValueError("broken")
    except ValueError:
        journal_.log.exception("it failed")
    message = journal_.read()["MESSAGE"]
    assert message.startswith("it failed\nTraceback")
    assert message.endswith("ValueError: broken")


def test_a_full_journal_makes_nobody_wait_and_the_loss_is_told(journal_: Journal) -> None:
    while not journal_.handler._dropped:
        journal_.log.info("line")
    journal_.log.info("line")
    while select.select([journal_.socket], [], [], 0)[0]:
        journal_.read()
    journal_.log.info("there again")
    assert journal_.read()["MESSAGE"] == "there again"
    assert journal_.read()["MESSAGE"] == "the journal took no lines for a while: dropped=2"
    assert journal_.fallback.getvalue() == ""


def test_without_a_journal_lines_go_to_standard_error(journal_: Journal) -> None:
    os.unlink(journal_.path)
    journal_.log.info("stream started stream=%s", "s-1")
    assert journal_.fallback.getvalue() == "stream started stream=s-1\n"


def test_line_breaks_are_sent_with_their_length() -> None:
    assert encode({"A": "b", "C": "d\ne"}) == b"A=b\nC\n\3\0\0\0\0\0\0\0d\ne\n"


def test_the_journal_is_known_by_device_and_inode(tmp_path: Path) -> None:
    with open(tmp_path / "log", "w") as stream:
        found = os.fstat(stream.fileno())
        assert is_journal({"JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino}"}, stream)
        assert not is_journal({"JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino + 1}"}, stream)
        assert not is_journal({}, stream)
    assert not is_journal({}, sys.__stderr__ or stream)
    assert not is_journal({"JOURNAL_STREAM": "1:2"}, io.StringIO())
