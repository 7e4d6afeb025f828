"""Good configurations, where values come from, and that nothing but ConfigError is ever raised."""

import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiohook.config import Config, Context, ContextPath, Server, load, worker_count
from audiohook.config.fields import PATH_FIELDS, SECTIONS
from audiohook.config.loading import assemble
from audiohook.errors import ConfigError


@pytest.fixture(autouse=True)
def two_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker rule looks at the machine: let every machine have two CPUs."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {0, 1})


def test_no_file_and_no_override_are_the_defaults() -> None:
    assert load(None, []) == Config()


def test_a_file_and_overrides_above_it(tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    file.write_text(
        """
        server = { workers = 2, drain_seconds = 1.5 }
        [context.paths."/a"]
        sample_rate = 8000
        framing = "fixed:120"
        [context.paths."/b"]
        framing = "fixed:1275"
        """,
        encoding="utf-8",
    )
    overrides = ["server.workers=3", " server . 'workers' = 4 # four", 'context.paths."/a".framing = message']
    overrides += ["server.listen=[':0']", "server.allow_anonymous=true"]
    config = load(str(file), overrides)
    expected_server = Server(workers=4, drain_seconds=1.5, listen=[":0"], allow_anonymous=True)
    expected_paths = {"/a": ContextPath(8000, "message"), "/b": ContextPath(None, "fixed:1275")}
    assert config == Config(server=expected_server, context=Context(paths=expected_paths))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("hub.path=/run/x.sock", "/run/x.sock"),
        ("hub.path='/run/x.sock'", "/run/x.sock"),
        ('hub.path="/run/\\u0078.sock"', "/run/x.sock"),
        ("hub.path=", ""),
        (" hub.path =\t/a b ", "/a b"),
        ("hub.path=a=b", "a=b"),
        ("hub.path=a # b", "a # b"),
        ("hub.path=x\n[memory]\nstreams=1", "x\n[memory]\nstreams=1"),
    ],
)
def test_an_override_is_a_toml_value_or_a_bare_word(text: str, value: str) -> None:
    assert load(None, [text]).hub.path == value
    assert load(None, [text]).memory.streams == 256


def test_floats_may_be_written_without_a_point() -> None:
    seconds = load(None, ["http.request_seconds=3"]).http.request_seconds
    assert isinstance(seconds, float)
    assert seconds == 3.0


def test_worker_count() -> None:
    assert worker_count(load(None, [])) == 2
    assert worker_count(load(None, ["server.workers=7"])) == 7


def test_the_worker_table_may_be_full() -> None:
    assert load(None, ["server.workers=60", "server.max_generations=1"]).server.workers == 60
    assert load(None, ["server.workers=1", "server.max_generations=119"]).server.workers == 1


# Whatever comes in


def refusal(read: Callable[[], Config]) -> ConfigError | None:
    """Return how it was refused, or None if it was read. Any other exception fails the test."""
    try:
        assert isinstance(read(), Config)
    except ConfigError as error:
        return error
    return None


def deep_table(depth: int) -> dict[str, object]:
    table: dict[str, object] = {}
    for _ in range(depth):
        table = {"a": table}
    return table


HOSTILE_MAPPINGS: dict[str, tuple[str, dict[str, object]]] = {
    "an int that cannot be printed": ("server.workers", {"server": {"workers": 1 << 70_000}}),
    "an int that cannot be printed, for a choice": ("context.sample_rate", {"context": {"sample_rate": 1 << 70_000}}),
    "an int beyond any float": ("server.drain_seconds", {"server": {"drain_seconds": 10**400}}),
    "no UTF-8, for a choice": ("log.level", {"log": {"level": "\udcff"}}),
    "no UTF-8, for a path": ("hub.path", {"hub": {"path": "\ud800"}}),
    "no UTF-8, for a key": ('server."\\udcff"', {"server": {"\udcff": 1}}),
    "a deep value": ("hub.read", {"hub": {"read": [deep_table(100_000)]}}),
    "a deep table of paths": ("context.paths.a", {"context": {"paths": deep_table(100_000)}}),
    "a deep section": ("a", deep_table(100_000)),
}


@pytest.mark.parametrize("case", HOSTILE_MAPPINGS)
def test_hostile_mappings_are_refused(case: str) -> None:
    key, mapping = HOSTILE_MAPPINGS[case]
    error = refusal(lambda: assemble([("x", mapping)]))
    assert error is not None
    assert (error.file, error.key) == ("x", key)
    assert str(error).startswith(f"x: {key} = ")


WORDS = ["message", "fixed:160", "fixed:0", "any", "user:0", "127.0.0.1:0", "0.0.0.0:1", "info"]
scalars = st.one_of(
    st.booleans(),
    st.integers(),
    st.integers(1, 120),
    st.floats(),
    st.floats(1, 60),
    st.text(),
    st.sampled_from(WORDS),
    st.sampled_from([8000, 16000, 1 << 70, 10**400]),
    st.datetimes(),
    st.dates(),
    st.times(),
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3), max_leaves=5
)
path_tables = st.dictionaries(
    st.sampled_from(["/", "/a", "a", "/ä", "/?"]) | st.text(),
    values | st.dictionaries(st.sampled_from([*PATH_FIELDS, "x"]), values, max_size=2),
    max_size=2,
)
near_mappings = st.fixed_dictionaries(
    {},
    optional={
        section: st.dictionaries(st.sampled_from([*fields, "unknown"]), values | path_tables, max_size=4)
        for section, fields in SECTIONS.items()
    },
)
mappings = near_mappings | st.dictionaries(st.sampled_from(list(SECTIONS)) | st.text(), values, max_size=3)


@given(mappings, mappings)
def test_any_mapping_loads_or_is_refused(below: Mapping[str, object], above: Mapping[str, object]) -> None:
    error = refusal(lambda: assemble([("below", below), ("above", above)]))
    if error is not None:
        assert error.file in ("below", "above")
        assert str(error) == f"{error.file}: {error.key} = {error.value!r}: {error.remedy}"


good_paths = st.dictionaries(
    st.sampled_from(["/", "/a", "/b/c"]),
    st.fixed_dictionaries(
        {},
        optional={
            "sample_rate": st.sampled_from([8000, 16000]),
            "framing": st.sampled_from(["message", "self_delimited", "fixed:1", "fixed:1275"]),
        },
    ),
)
good_contexts = st.fixed_dictionaries(
    {}, optional={"paths": good_paths, "heartbeat_ms": st.integers(10, 3_600_000), "framing": st.just("fixed:160")}
)


@given(good_contexts, good_contexts)
def test_what_is_above_wins_key_by_key(below: dict[str, Any], above: dict[str, Any]) -> None:
    context = assemble([("below", {"context": below}), ("above", {"context": above})]).context
    for name in ("heartbeat_ms", "framing"):
        assert getattr(context, name) == {**below, **above}.get(name, getattr(Context(), name))
    lower, upper = below.get("paths", {}), above.get("paths", {})
    assert context.paths.keys() == lower.keys() | upper.keys()
    for path, entry in context.paths.items():
        assert entry == ContextPath(**{**lower.get(path, {}), **upper.get(path, {})})


def refused_content(content: bytes) -> bool:
    with tempfile.NamedTemporaryFile() as file:
        file.write(content)
        file.flush()
        error = refusal(lambda: load(file.name, []))
        assert error is None or (error.file == file.name and str(error).startswith(f"{file.name}: "))
        return error is not None


TOKENS = [
    "[server]",
    "[context.paths.'/a']",
    "workers",
    "listen",
    "=",
    "\n",
    "'x'",
    '"',
    "[",
    "]",
    "{",
    "}",
    "1",
    ".",
    "#",
]
toml_like = st.lists(st.sampled_from(TOKENS), max_size=20).map(lambda parts: "".join(parts).encode())


@given(toml_like | st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_any_bytes_load_or_are_refused(content: bytes) -> None:
    refused_content(content)


HOSTILE_CONTENT = {
    "brackets": b"[" * 20_000,
    "a deep list": b"a=" + b"[" * 20_000,
    "a long int": b"a=" + b"9" * 5000,
    "a long hexadecimal int": b"[server]\nworkers=0x" + b"f" * 5000,
    "a deep key": b"[server]\nworkers." + b"a." * 2000 + b"a=1",
    "an impossible date": b"[server]\nworkers=1979-99-99",
    "NUL": b"\0",
    "a surrogate": b"a='\xed\xa0\x80'",
}


@pytest.mark.parametrize("case", HOSTILE_CONTENT)
def test_hostile_content_is_refused(case: str) -> None:
    assert refused_content(HOSTILE_CONTENT[case])


override_texts = st.text() | st.builds(
    "{}={}".format, st.text() | st.sampled_from(["server.workers", "hub.path"]), st.text()
)


@given(override_texts)
def test_any_override_loads_or_is_refused(text: str) -> None:
    error = refusal(lambda: load(None, [text]))
    assert error is None or (error.file == "--set" and str(error).startswith("--set: "))


HOSTILE_OVERRIDES = {
    "a deep list": "server.workers=" + "[" * 20_000,
    "a deep key": "a." * 2000 + "a=1",
    "a long hexadecimal int": "server.workers=0x" + "f" * 5000,
    "no UTF-8, for a choice": "log.level=\udcff",
    "no UTF-8, for a key": '"\udcff".a=1',
}


@pytest.mark.parametrize("case", HOSTILE_OVERRIDES)
def test_hostile_overrides_are_refused(case: str) -> None:
    error = refusal(lambda: load(None, [HOSTILE_OVERRIDES[case]]))
    assert error is not None
    assert error.file == "--set"
    assert str(error).startswith("--set: ")
