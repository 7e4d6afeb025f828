"""`audiohookctl doctor` judges facts as it should: every fault is found, alone, with its remedy."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from audiohook.cli.doctor_checks import Finding, judge, worst
from audiohook.cli.doctor_facts import (
    CertificateState,
    Configured,
    Facts,
    Hub,
    HubPlace,
    Limits,
    Machine,
    Opus,
    Place,
    Port,
    Room,
    Running,
    Worker,
)
from audiohook.config import load

MACHINE = Machine(
    kernel="Linux 6.1 on x86_64",
    platform_error="",
    python=(3, 11, 2),
    libraries={"numpy": "2.0", "h11": "0.16"},
    somaxconn=4096,
    core_pattern="core",
    clock_synchronized=True,
    clock_error_ms=3.0,
)
WORKERS = (Worker(0, 101, "accepting", 10), Worker(1, 102, "accepting", 20))
RUNNING = Running(100, 15, "serving", slots=256, ring_bytes=983_040, workers=WORKERS)
CONFIGURED = Configured(
    config=load(None, []),
    wanted_ring_bytes=983_040,
    limits=Limits("the daemon's", 4096, None, 0),
    room=Room(252_000_000, "", 380_000_000, ""),
    hub_place=HubPlace("/run/audiohook/hub.sock", "socket", Place("/run/audiohook", 0o40755), True),
    ports=(Port("127.0.0.1:8443", "daemon"),),
)
UP = Facts(MACHINE, Opus("libopus.so.0", "libopus 1.3.1", 320), None, hub=Hub("", RUNNING), configured=CONFIGURED)
DOWN = replace(
    UP,
    hub=Hub("no hub at /run/audiohook/hub.sock: is audiohookd running?"),
    configured=replace(CONFIGURED, ports=(Port("127.0.0.1:8443", "nobody"),)),
)
SOON = CertificateState("", "expires in 3 days, on 2031-05-07", True, 3)
TLS = ["tls.certificate_file=c.pem", "tls.key_file=k.pem"]


def machine(**changes: Any) -> Facts:
    return replace(UP, machine=replace(MACHINE, **changes))


def configured(base: Facts = UP, **changes: Any) -> Facts:
    assert base.configured is not None
    return replace(base, configured=replace(base.configured, **changes))


def running(**changes: Any) -> Facts:
    return replace(UP, hub=Hub("", replace(RUNNING, **changes)))


def config(*overrides: str, **changes: Any) -> Facts:
    return configured(config=load(None, list(overrides)), **changes)


def limited(base: Facts = UP, **changes: Any) -> Facts:
    return configured(base, limits=replace(CONFIGURED.limits, **changes))


def hub_place(base: Facts = UP, **changes: Any) -> Facts:
    return configured(base, hub_place=replace(CONFIGURED.hub_place, **changes))


def not_ok(facts: Facts) -> list[Finding]:
    return [finding for finding in judge(facts) if finding.level != "OK"]


def test_a_machine_and_a_daemon_that_are_well_are_ok_throughout() -> None:
    assert not_ok(UP) == []
    assert worst(judge(UP)) == "OK"


def test_a_daemon_that_does_not_run_is_a_warning_and_all_else_is_judged() -> None:
    (finding,) = not_ok(DOWN)
    assert (finding.check, finding.level) == ("hub", "WARN")
    assert {finding.check for finding in judge(DOWN)} == {finding.check for finding in judge(UP)} - {"workers"}


CASES: dict[str, tuple[Facts, str, str, str]] = {
    "kernel": (machine(platform_error="Linux 5.16 or newer is needed"), "kernel", "FAIL", "machine with such a kernel"),
    "library": (machine(libraries={"h11": None, "numpy": "2"}), "python", "FAIL", "pip install 'audiohook[server]'"),
    "python": (machine(python=(3, 10, 1)), "python", "FAIL", "3.11 or newer"),
    "somaxconn": (machine(somaxconn=128), "backlog", "WARN", "sysctl -w net.core.somaxconn=4096"),
    "clock": (machine(clock_synchronized=False), "clock", "WARN", "chrony"),
    "clock unknown": (machine(clock_synchronized=None), "clock", "WARN", "chrony"),
    "no libopus": (replace(UP, opus=Opus(error="libopus not found: install")), "libopus", "FAIL", "not found: install"),
    "libopus is mad": (replace(UP, opus=Opus("a", "b", 160)), "libopus", "FAIL", "install another libopus"),
    "writable configuration": (
        *(replace(UP, config_file=Place("/etc/a.toml", 0o100664)), "configuration", "WARN"),
        "chmod go-w /etc/a.toml",
    ),
    "descriptors": (limited(open_files=256), "descriptors", "FAIL", "LimitNOFILE=321"),
    "file size": (limited(DOWN, file_bytes=1000), "memory", "FAIL", "ulimit -f unlimited"),
    "cores": (limited(core_bytes=None), "core dumps", "WARN", "LimitCORE=0"),
    "arena": (
        *(configured(DOWN, room=Room(252, "MemAvailable leaves 1 MB; lower it", 380, "x")), "memory", "FAIL"),
        "MemAvailable leaves 1 MB; lower it",
    ),
    "workers' memory": (configured(DOWN, room=Room(1, "", 2, "leaves 1 MB")), "memory", "WARN", "server.workers"),
    "another arena": (running(slots=16), "memory", "WARN", "restart it"),
    "keys": (config("auth.keys_file=k", keys_error="k: run: chmod 600 k"), "keys", "FAIL", "chmod 600 k"),
    "no certificate": (
        *(config(*TLS, certificate=CertificateState("c.pem: cannot be read")), "certificate", "FAIL"),
        "cannot be read",
    ),
    "expired": (
        *(config(*TLS, certificate=CertificateState("", "expired", False, -1)), "certificate", "FAIL"),
        "renew it",
    ),
    "expires": (config(*TLS, certificate=SOON), "certificate", "WARN", "renew it"),
    "handshake": (running(probe="not trusted", probe_ok=False), "handshake", "FAIL", "tls.probe_url"),
    "hub is a file": (hub_place(kind="other"), "hub folder", "FAIL", "choose another hub.path"),
    "hub cannot be made": (hub_place(DOWN, kind="", folder_writable=False), "hub folder", "FAIL", "RuntimeDirectory="),
    "hub for everybody": (
        *(hub_place(folder=Place("/srv", 0o40777)), "hub folder", "WARN"),
        "chmod o-w /srv",
    ),
    "port taken": (configured(DOWN, ports=(Port("[::]:1", "others"),)), "port", "FAIL", "choose another port"),
    "port of somebody": (configured(ports=(Port("[::]:1", "somebody"),)), "port", "WARN", "root"),
    "port forbidden": (
        *(configured(DOWN, ports=(Port(":443", "nobody", "CAP_NET_BIND_SERVICE"),)), "port", "FAIL"),
        "CAP_NET_BIND_SERVICE",
    ),
    "port of another configuration": (configured(ports=(Port("[::]:1", "nobody"),)), "port", "WARN", "reload"),
    "draining": (running(state="draining"), "hub", "WARN", "start it again"),
    "nobody accepts": (running(workers=(Worker(0, 1, "booting", 1),)), "workers", "FAIL", "log"),
    "worker hangs": (running(workers=(*WORKERS, Worker(2, 3, "accepting", 10_001))), "workers", "FAIL", "USR2"),
    "supervisor hangs": (running(supervisor_beat_age_ms=10_001), "workers", "FAIL", "start the daemon again"),
}


@pytest.mark.parametrize(("facts", "check", "level", "remedy"), CASES.values(), ids=CASES)
def test_a_fault_is_found_alone_and_with_its_remedy(facts: Facts, check: str, level: str, remedy: str) -> None:
    found = [finding for finding in not_ok(facts) if facts.hub.running or finding.check != "hub"]
    (finding,) = found
    assert (finding.check, finding.level) == (check, level)
    assert remedy in finding.remedy
    assert "\n" not in finding.text + finding.remedy


def test_with_a_configuration_that_cannot_be_read_the_rest_is_still_judged() -> None:
    facts = replace(running(workers=(Worker(0, 1, "accepting", 10_001),)), config_error="a.toml: no", configured=None)
    assert [(finding.check, finding.level) for finding in not_ok(facts)] == [
        ("configuration", "FAIL"),
        ("workers", "FAIL"),
    ]


@pytest.mark.parametrize(
    ("facts", "level"), [(UP, "OK"), (machine(somaxconn=1), "WARN"), (hub_place(kind="other"), "FAIL")]
)
def test_the_worst_finding_counts(facts: Facts, level: str) -> None:
    assert worst(judge(facts)) == level


def test_what_a_signature_needs_of_the_clock_is_said_where_keys_are_asked_for() -> None:
    facts = replace(config("auth.keys_file=k", keys="2 API keys"), machine=replace(MACHINE, clock_synchronized=False))
    (finding,) = not_ok(facts)
    assert "signatures are refused beyond 30 s" in finding.text


def test_the_page_has_a_line_for_every_check_and_for_what_it_can_say() -> None:
    page = (Path(__file__).parents[2] / "docs" / "operating.md").read_text(encoding="utf-8")
    table = page.partition("## `audiohookctl doctor`")[2].partition("\n## ")[0]
    told = {
        name: {level for level, cell in zip(("FAIL", "WARN"), (fail, warn), strict=True) if cell.strip()}
        for names, fail, warn in re.findall(r"^\| (`.*?) \|(.*?)\|(.*?)\|$", table, re.MULTILINE)
        for name in re.findall(r"`([^`]+)`", names)
    }
    said: dict[str, set[str]] = {finding.check: set() for finding in judge(running(probe="well"))}
    said |= {"configuration": {"FAIL"}}
    for _, check, level, _ in CASES.values():
        said[check].add(level)
    assert told == said
