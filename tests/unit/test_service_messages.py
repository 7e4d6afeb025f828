"""The texts between a service and systemd: what is sent, what the environment may say, names in the store."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiohook.errors import BootError
from audiohook.net.service_messages import (
    MEMORY_PARTS,
    PassedFd,
    Watchdog,
    extend,
    forget,
    hub_name,
    line_name,
    listener_name,
    memory_name,
    notify_address,
    ready,
    reloading,
    sort_out,
    status_line,
    stopping,
    store,
    take_passed,
    watchdog_ns,
)


def test_each_message_is_what_sd_notify_says() -> None:
    assert ready("serving") == "READY=1\nSTATUS=serving\n"
    assert reloading(1_234_567_890, "r") == "RELOADING=1\nMONOTONIC_USEC=1234567\nSTATUS=r\n"
    assert stopping("s") == "STOPPING=1\nSTATUS=s\n"
    assert extend(15_000_000_000) == "EXTEND_TIMEOUT_USEC=15000000\n"
    assert store("audiohook-arena") == "FDSTORE=1\nFDNAME=audiohook-arena\nFDPOLL=0\n"
    assert forget("audiohook-arena") == "FDSTOREREMOVE=1\nFDNAME=audiohook-arena\n"


@given(st.text(max_size=400))
def test_a_status_is_one_short_assignment(text: str) -> None:
    line = status_line(text)
    assert line.startswith("STATUS=")
    assert line.count("\n") == 1
    assert line.endswith("\n")
    assert len(line) <= 200 + len("STATUS=\n")


@pytest.mark.parametrize(
    ("environ", "address"),
    [
        ({}, None),
        ({"NOTIFY_SOCKET": ""}, None),
        ({"NOTIFY_SOCKET": "/run/systemd/notify"}, "/run/systemd/notify"),
        ({"NOTIFY_SOCKET": "@abstract/name"}, "\0abstract/name"),
    ],
)
def test_where_notifications_go(environ: dict[str, str], address: str | None) -> None:
    assert notify_address(environ) == address


def test_a_notify_socket_of_another_kind_is_refused() -> None:
    with pytest.raises(BootError, match="vsock:2:1234"):
        notify_address({"NOTIFY_SOCKET": "vsock:2:1234"})


@pytest.mark.parametrize(
    ("environ", "interval_ns"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 30_000_000_000),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "7"}, 30_000_000_000),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "8"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
    ],
)
def test_the_watchdog_s_interval(environ: dict[str, str], interval_ns: int | None) -> None:
    assert watchdog_ns(environ, 7) == interval_ns


@pytest.mark.parametrize("text", ["", "-1", "1e3", "３", "x", "9" * 19])
def test_what_is_no_number_is_refused(text: str) -> None:
    with pytest.raises(BootError, match="WATCHDOG_USEC"):
        watchdog_ns({"WATCHDOG_USEC": text}, 7)
    with pytest.raises(BootError, match="LISTEN_FDS"):
        take_passed({"LISTEN_PID": "7", "LISTEN_FDS": text}, 7)


def test_passed_descriptors_are_numbered_from_three_and_told_once() -> None:
    environ = {"LISTEN_PID": "7", "LISTEN_FDS": "2", "LISTEN_FDNAMES": "web.socket:audiohook-arena", "HOME": "/"}
    assert take_passed(environ, 7) == [PassedFd(3, "web.socket"), PassedFd(4, "audiohook-arena")]
    assert environ == {"HOME": "/"}
    assert take_passed(environ, 7) == []


def test_without_names_they_are_unknown() -> None:
    assert take_passed({"LISTEN_PID": "7", "LISTEN_FDS": "1"}, 7) == [PassedFd(3, "unknown")]


def test_what_was_meant_for_another_process_is_not_ours_and_removed() -> None:
    environ = {"LISTEN_PID": "8", "LISTEN_FDS": "2", "LISTEN_FDNAMES": "a:b"}
    assert take_passed(environ, 7) == []
    assert environ == {}


def test_names_and_count_must_agree() -> None:
    with pytest.raises(BootError, match="2 and LISTEN_FDNAMES has 3"):
        take_passed({"LISTEN_PID": "7", "LISTEN_FDS": "2", "LISTEN_FDNAMES": "a:b:c"}, 7)


@given(st.lists(st.text(st.characters(codec="utf-8"), min_size=1, max_size=60), max_size=4), st.randoms())
def test_the_store_s_names_lead_back_in_any_order(addresses: list[str], random: object) -> None:
    names = [listener_name(text) for text in addresses]
    names += [memory_name(part) for part in MEMORY_PARTS] + [hub_name(5, 77), "web.socket", "audiohook-of-next-year"]
    names += [line_name(0), line_name(119)]
    random.shuffle(names)  # type: ignore[attr-defined]
    assert all(name.isascii() and ":" not in name and name.isprintable() for name in names)
    kept = sort_out([PassedFd(3 + at, name) for at, name in enumerate(names)])
    assert sorted(text for text, _ in kept.listeners) == sorted(addresses)
    assert {part: names[fd - 3] for part, fd in kept.memory.items()} == {p: memory_name(p) for p in MEMORY_PARTS}
    assert {row: names[fd - 3] for row, fd in kept.lines.items()} == {0: line_name(0), 119: line_name(119)}
    assert kept.hub is not None
    assert kept.hub.name == hub_name(5, 77)
    assert [one.name for one in kept.activated] == ["web.socket"]
    assert [one.name for one in kept.strange] == ["audiohook-of-next-year"]


def test_what_is_twice_in_the_store_is_taken_once() -> None:
    kept = sort_out([PassedFd(3, "audiohook-arena"), PassedFd(4, "audiohook-arena")])
    assert kept.memory == {"arena": 3}
    assert kept.strange == (PassedFd(4, "audiohook-arena"),)


@pytest.mark.parametrize("row", ["", "-1", "x", "1x", "\u0661", "1" * 10])
def test_a_line_that_is_no_row_s_is_strange(row: str) -> None:
    named = PassedFd(3, f"audiohook-line-{row}")
    assert sort_out([named]).strange == (named,)
    assert sort_out([PassedFd(3, line_name(7)), PassedFd(4, line_name(7))]).lines == {7: 3}


def test_the_watchdog_is_fed_a_quarter_of_its_interval_apart() -> None:
    watchdog = Watchdog(40)
    fed = [now_ns for now_ns in range(1000, 1050) if watchdog.due(now_ns, now_ns)]
    assert fed == [1000, 1010, 1020, 1030, 1040]


def test_the_watchdog_starves_when_no_worker_lives() -> None:
    watchdog = Watchdog(40)
    assert not watchdog.due(1000, 0)
    assert watchdog.due(1010, 1005)
    assert [now_ns for now_ns in range(1011, 1100) if watchdog.due(now_ns, 1012)] == [1020]
    assert watchdog.due(1101, 1100)
