"""`check_room` and the arena's header: too little memory, or an arena that is none, is told in words."""

import os
from pathlib import Path

import pytest

from audiohook.errors import BootError
from audiohook.memory import layout
from audiohook.memory.arena import check_room, read_geometry
from tests.support.memory import SMALL, bench

MB = 1_000_000


def proc_with(tmp_path: Path, cgroup: str, available_kb: int = 8_000_000) -> Path:
    """Make a /proc with so much memory and this /proc/self/cgroup."""
    proc = tmp_path / "proc"
    (proc / "self").mkdir(parents=True)
    (proc / "meminfo").write_text(f"MemTotal: 16000000 kB\nMemFree: 1 kB\nMemAvailable:  {available_kb} kB\n")
    (proc / "self/cgroup").write_text(cgroup)
    return proc


def group(folder: Path, **files: object) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, value in files.items():
        (folder / name.replace("__", ".")).write_text(f"{value}\n")


def test_enough(tmp_path: Path) -> None:
    check_room(100 * MB, proc_with(tmp_path, "0::/\n"), tmp_path / "cgroup")


def test_mem_available(tmp_path: Path) -> None:
    proc = proc_with(tmp_path, "0::/\n", available_kb=50_000)
    with pytest.raises(BootError, match=r"needs 100 MB and MemAvailable leaves 51 MB; lower memory\.streams"):
        check_room(100 * MB, proc, tmp_path / "cgroup")


@pytest.mark.parametrize("level", ["", "system.slice", "system.slice/audiohookd.service"])
def test_v2_every_limit_above_us_counts(tmp_path: Path, level: str) -> None:
    cgroups = tmp_path / "cgroup"
    for folder in ("system.slice", "system.slice/audiohookd.service"):
        group(cgroups / folder, memory__max="max", memory__current=5 * MB)
    group(cgroups / level, memory__max=120 * MB, memory__current=30 * MB)
    proc = proc_with(tmp_path, "0::/system.slice/audiohookd.service\n")
    check_room(90 * MB, proc, cgroups)
    with pytest.raises(BootError, match=rf"memory\.max of cgroup /{level} leaves 90 MB"):
        check_room(91 * MB, proc, cgroups)


def test_v2_page_cache_is_room(tmp_path: Path) -> None:
    """`memory.current` counts file pages, which the kernel gives back at need; it does not give back shared memory."""
    cgroups = tmp_path / "cgroup"
    stat = f"anon {20 * MB}\nfile {70 * MB}\nshmem {10 * MB}\ninactive_file {45 * MB}\nactive_file {15 * MB}"
    group(cgroups / "box", memory__max=100 * MB, memory__current=95 * MB, memory__stat=stat)
    proc = proc_with(tmp_path, "0::/box\n")
    check_room(65 * MB, proc, cgroups)
    with pytest.raises(BootError, match="leaves 65 MB"):
        check_room(66 * MB, proc, cgroups)


@pytest.mark.parametrize("level", ["", "docker", "docker/abc"])
def test_v1_every_limit_above_us_counts(tmp_path: Path, level: str) -> None:
    cgroups = tmp_path / "cgroup"
    unlimited = 9_223_372_036_854_771_712
    for folder in ("", "docker", "docker/abc"):
        group(cgroups / "memory" / folder, memory__limit_in_bytes=unlimited, memory__usage_in_bytes=5 * MB)
    group(cgroups / "memory" / level, memory__limit_in_bytes=120 * MB, memory__usage_in_bytes=30 * MB)
    proc = proc_with(tmp_path, "5:devices:/x\n4:cpu,memory:/docker/abc\n1:name=systemd:/x\n0::/\n")
    check_room(90 * MB, proc, cgroups)
    with pytest.raises(BootError, match=rf"memory\.limit_in_bytes of cgroup /{level} leaves 90 MB"):
        check_room(91 * MB, proc, cgroups)


def test_v1_page_cache_is_room(tmp_path: Path) -> None:
    cgroups = tmp_path / "cgroup"
    stat = (
        f"cache {70 * MB}\ninactive_file 1\nactive_file 1\ntotal_inactive_file {45 * MB}\ntotal_active_file {15 * MB}"
    )
    group(
        cgroups / "memory/box",
        memory__limit_in_bytes=100 * MB,
        memory__usage_in_bytes=95 * MB,
        memory__stat=stat,
    )
    proc = proc_with(tmp_path, "4:memory:/box\n")
    check_room(65 * MB, proc, cgroups)
    with pytest.raises(BootError, match="leaves 65 MB"):
        check_room(66 * MB, proc, cgroups)


def test_a_container_that_does_not_see_its_own_folder(tmp_path: Path) -> None:
    """The path is the host's; what is mounted here is the container's own group as the root."""
    cgroups = tmp_path / "cgroup"
    group(cgroups, memory__max=50 * MB, memory__current=10 * MB)
    proc = proc_with(tmp_path, "0::/kubepods/pod1/abc\n")
    with pytest.raises(BootError, match="leaves 40 MB"):
        check_room(41 * MB, proc, cgroups)


def test_a_group_that_is_over_its_limit_already(tmp_path: Path) -> None:
    cgroups = tmp_path / "cgroup"
    group(cgroups / "box", memory__max=10 * MB, memory__current=12 * MB)
    with pytest.raises(BootError, match="leaves 0 MB"):
        check_room(1, proc_with(tmp_path, "0::/box\n"), cgroups)


# -------------------------------------------------------------------------------------------------- the header


def memory_with(words: list[int]) -> int:
    fd = os.memfd_create("test:header", os.MFD_CLOEXEC)
    os.write(fd, b"".join(word.to_bytes(8, "little") for word in words).ljust(layout.PAGE_BYTES, b"\0"))
    return fd


def header_of(fd: int) -> list[int]:
    return list(memoryview(os.pread(fd, len(layout.HEADER) * layout.WORD_BYTES, 0)).cast("Q"))


def test_a_header_says_its_sizes() -> None:
    with bench() as made:
        assert read_geometry(made.files.read_only) == SMALL
        field = dict(zip(layout.HEADER, header_of(made.files.read_only), strict=True))
        for name in ("arena_bytes", "rows_offset", "cards_offset", "cursors_offset", "events_offset", "rings_offset"):
            assert field[name] == getattr(SMALL, name)
        assert field["supervisor_pid"] == os.getpid()
        assert field["state"] == layout.SERVING
        assert os.fstat(made.files.read_only).st_size == SMALL.arena_bytes


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"version": 0}, "not ready"),
        ({"version": 0x12345678 << 32 | 1 << 16}, "not an audiohook arena"),
        ({"version": layout.MAGIC << 32 | 2 << 16}, "layout 2, this program reads layout 1"),
        ({"slots": 4}, "contradicts itself"),
        ({"arena_bytes": 0}, "contradicts itself"),
    ],
)
def test_what_is_no_arena_of_ours_is_refused(change: dict[str, int], words: str) -> None:
    with bench() as made:
        field = dict(zip(layout.HEADER, header_of(made.files.read_only), strict=True))
    fd = memory_with(list({**field, **change}.values()))
    try:
        with pytest.raises(BootError, match=words):
            read_geometry(fd)
    finally:
        os.close(fd)


def test_a_newer_minor_version_is_read() -> None:
    with bench() as made:
        field = dict(zip(layout.HEADER, header_of(made.files.read_only), strict=True))
    fd = memory_with([*{**field, "version": layout.VERSION_WORD + 1}.values(), 7])
    try:
        assert read_geometry(fd) == SMALL
    finally:
        os.close(fd)


@pytest.mark.parametrize("content", [b"", b"short", b"\0" * 100])
def test_a_file_too_short_for_a_header_is_refused(content: bytes) -> None:
    fd = os.memfd_create("test:short", os.MFD_CLOEXEC)
    os.write(fd, content)
    try:
        with pytest.raises(BootError, match="not an audiohook arena"):
            read_geometry(fd)
    finally:
        os.close(fd)
