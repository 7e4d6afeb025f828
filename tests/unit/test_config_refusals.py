"""What is refused, each with file, key, value and remedy to the letter."""

import os
from pathlib import Path

import pytest

from audiohook.config import load, worker_count
from audiohook.config.rules import probe_address
from audiohook.errors import ConfigError

ANONYMOUS = (
    "not a loopback address, so TLS (tls.certificate_file, or a proxy that ends it: server.trusted_proxies) and "
    "somebody to say who may call (auth.keys_file, server.allow or tls.require_client_certificate) are needed; set "
    "them, listen on 127.0.0.1, [::1] or localhost, or set server.allow_anonymous = true to let anybody who reaches "
    "this address place calls"
)
NOT_ADDRESS = 'not an address; write "host:port" or "[v6]:port" with a port from 0 to 65535'
FRAMING = 'must be "message", "self_delimited", or "fixed:N" with N from 1 to 1275, such as "fixed:160"'
NO_PATH = "no request has this path; write visible ASCII without ? and #, and percent-encode the rest"
ROWS = "workers x (max_generations + 1) may be 120 at most, and is"
SECTIONS = "server, tls, memory, http, admission, context, audiohook2, auth, hub, log"
TEN_TO_HOUR = "must be a whole number from 10 to 3600000 (milliseconds)"

IN_A_FILE: list[tuple[str, str, object, str]] = [
    # Unknown sections and keys
    ("[servre]\nworkers=1", "servre", {"workers": 1}, "no such section; did you mean server?"),
    ("[zzz]", "zzz", {}, f"no such section; known: {SECTIONS}"),
    ("workers = 1", "workers", 1, "not a section; write server.workers"),
    ("sample_rate = 1", "sample_rate", 1, "not a section; write context.sample_rate"),
    ("'a b'.c = 1", '"a b"', {"c": 1}, f"no such section; known: {SECTIONS}"),
    ("'\\n' = 1", '"\\\\n"', 1, f"no such section; known: {SECTIONS}"),
    ('"\\n" = 1', '"\\n"', 1, f"no such section; known: {SECTIONS}"),
    ("[server]\nworker=1", "server.worker", 1, "no such key in [server]; did you mean workers?"),
    ("[server]\nstreams=1", "server.streams", 1, "no such key in [server]; write memory.streams"),
    ("[server]\npath=1", "server.path", 1, "no such key in [server]; write hub.path"),
    ("[log]\nzzz=1", "log.zzz", 1, "no such key in [log]; known: level"),
    (
        "[hub]\nzzz=1",
        "hub.zzz",
        1,
        "no such key in [hub]; known: path, read, speak, operate, max_clients, max_watched",
    ),
    ("context.paths.'/a'.rate=1", 'context.paths."/a".rate', 1, "no such key of a path; did you mean sample_rate?"),
    (
        "context.paths.'/a'.x=1",
        'context.paths."/a".x',
        1,
        "no such key of a path; known: sample_rate, framing",
    ),
    # Wrong types
    ("server = 1", "server", 1, "must be a table; write [server] and its keys below it"),
    ("[[server]]\nworkers=1", "server", [{"workers": 1}], "must be a table; write [server] and its keys below it"),
    ("[server]\nworkers='2'", "server.workers", "2", "must be a whole number from 0 to 120 (processes)"),
    ("[server]\nworkers=2.0", "server.workers", 2.0, "must be a whole number from 0 to 120 (processes)"),
    ("[server]\nworkers=true", "server.workers", True, "must be a whole number from 0 to 120 (processes)"),
    ("[server]\nallow_anonymous=1", "server.allow_anonymous", 1, "must be true or false"),
    ("[server]\ndrain_seconds='1'", "server.drain_seconds", "1", "must be a number from 0 to 86400 (seconds)"),
    ("[server]\nlisten='a:1'", "server.listen", "a:1", 'must be a list of 1 to 16 strings, ["...", "..."]'),
    ("[server]\nlisten=['a:1',2]", "server.listen", ["a:1", 2], 'must be a list of 1 to 16 strings, ["...", "..."]'),
    ("[hub]\nread='any'", "hub.read", "any", 'must be a list of strings, ["...", "..."]'),
    ("[hub]\npath=1", "hub.path", 1, "must be a string"),
    ("[context]\npaths=[]", "context.paths", [], "must be a table of tables"),
    ("context.paths.'/a'=8000", 'context.paths."/a"', 8000, "must be a table with sample_rate or framing"),
    ("context.paths.'/a'.framing=1", 'context.paths."/a".framing', 1, "must be a string"),
    # Out of range
    ("[server]\nlisten=[]", "server.listen", [], 'must be a list of 1 to 16 strings, ["...", "..."]'),
    ("[server]\nworkers=-1", "server.workers", -1, "must be a whole number from 0 to 120 (processes)"),
    ("[server]\nworkers=121", "server.workers", 121, "must be a whole number from 0 to 120 (processes)"),
    (
        "[server]\nmax_generations=0",
        "server.max_generations",
        0,
        "must be a whole number from 1 to 119 (generations)",
    ),
    ("[server]\nbacklog=0", "server.backlog", 0, "must be a whole number from 1 to 65535 (connections)"),
    ("[server]\ndrain_seconds=-0.1", "server.drain_seconds", -0.1, "must be a number from 0 to 86400 (seconds)"),
    (
        "[server]\norphan_seconds=inf",
        "server.orphan_seconds",
        float("inf"),
        "must be a number from 0 to 604800 (seconds)",
    ),
    ("[server]\nboot_seconds=0", "server.boot_seconds", 0, "must be a number from 0.1 to 600 (seconds)"),
    ("[memory]\nstreams=0", "memory.streams", 0, "must be a whole number from 1 to 16384 (streams)"),
    (
        "[memory]\nstreams=99999999999999999999",
        "memory.streams",
        99999999999999999999,
        "must be a whole number from 1 to 16384 (streams)",
    ),
    ("[memory]\nring_seconds=0.5", "memory.ring_seconds", 0.5, "must be a number from 1 to 3600 (seconds)"),
    ("[http]\nmax_headers=9", "http.max_headers", 9, "must be a whole number from 10 to 10000 (headers)"),
    ("[context]\nheartbeat_ms=0", "context.heartbeat_ms", 0, TEN_TO_HOUR),
    ("[context]\ndegraded_ms=0", "context.degraded_ms", 0, TEN_TO_HOUR),
    ("[context]\nsample_rate=48000", "context.sample_rate", 48000, "must be 8000 or 16000 (Hz)"),
    ("context.paths.'/a'.sample_rate=0", 'context.paths."/a".sample_rate', 0, "must be 8000 or 16000 (Hz)"),
    ("[log]\nlevel='INFO'", "log.level", "INFO", 'must be "debug", "info", "warning" or "error"'),
    # Syntax of strings
    ("[context]\nframing=''", "context.framing", "", FRAMING),
    ("[context]\nframing='fixed'", "context.framing", "fixed", FRAMING),
    ("[context]\nframing='fixed:0'", "context.framing", "fixed:0", FRAMING),
    ("[context]\nframing='fixed:1276'", "context.framing", "fixed:1276", FRAMING),
    ("[context]\nframing='fixed:0160'", "context.framing", "fixed:0160", FRAMING),
    ('[context]\nframing="fixed:160\\n"', "context.framing", "fixed:160\n", FRAMING),
    ("[context]\nframing='fixed:٣'", "context.framing", "fixed:٣", FRAMING),
    ("context.paths.'/a'.framing='Message'", 'context.paths."/a".framing', "Message", FRAMING),
    ("context.paths.a={}", "context.paths.a", {}, 'a URL path starts with a slash; write "/a"'),
    ("context.paths.''={}", 'context.paths.""', {}, 'a URL path starts with a slash; write "/"'),
    ("context.paths.'/a?b'={}", 'context.paths."/a?b"', {}, NO_PATH),
    ("context.paths.'/a#b'={}", 'context.paths."/a#b"', {}, NO_PATH),
    ("context.paths.'/a b'={}", 'context.paths."/a b"', {}, NO_PATH),
    ("context.paths.'/ä'={}", 'context.paths."/ä"', {}, NO_PATH),
    ("[server]\nlisten=['[::1]:1', '::1:8443']", "server.listen[1]", "::1:8443", NOT_ADDRESS),
    ("[server]\nlisten=['127.0.0.1']", "server.listen[0]", "127.0.0.1", NOT_ADDRESS),
    ("[server]\nlisten=['127.0.0.1:70000']", "server.listen[0]", "127.0.0.1:70000", NOT_ADDRESS),
    (
        f"[hub]\npath='/{'a' * 107}'",
        "hub.path",
        "/" + "a" * 107,
        "108 bytes, and a Unix socket's path has 107 at most; choose a shorter one",
    ),
    ('[hub]\npath="a\\u0000"', "hub.path", "a\0", "no file can have this name; leave out the NUL"),
    (
        "[hub]\nread=['any', 'user:no such user']",
        "hub.read[1]",
        "user:no such user",
        "this machine has no such user; name one that exists, or its number",
    ),
    (
        "[hub]\nread=['everybody']",
        "hub.read[0]",
        "everybody",
        'not a principal; write "user:NAME", "user:UID", "group:NAME", "group:GID" or "any"',
    ),
    *(
        (
            f"[hub]\n{role}=['everybody']",
            f"hub.{role}[0]",
            "everybody",
            'not a principal; write "user:NAME", "user:UID", "group:NAME", "group:GID" or "any"',
        )
        for role in ("speak", "operate")
    ),
    # Impossible together
    *(
        (f"[server]\nlisten=['localhost:1', '{text}']", "server.listen[1]", text, ANONYMOUS)
        for text in ("0.0.0.0:8443", ":8443", "[::]:8443", "10.0.0.1:1", "[fe80::1]:1", "audio.example.com:1", "db:0")
    ),
    (
        "[server]\nlisten=['127.0.0.1:1', '[::1]:1', 'localhost:1']",
        "server.listen[2]",
        "localhost:1",
        "the same address as server.listen[0]; name each once",
    ),
    (
        "[server]\nallow_anonymous=true\nlisten=['[::]:1', '[0::0]:01']",
        "server.listen[1]",
        "[0::0]:01",
        "the same address as server.listen[0]; name each once",
    ),
    (
        "[server]\nworkers=31",
        "server.workers",
        31,
        f"{ROWS} 31 x 4 here; set server.workers to 30 or fewer, or server.max_generations to 2 or fewer",
    ),
    (
        "[server]\nworkers=61\nmax_generations=1",
        "server.workers",
        61,
        f"{ROWS} 61 x 2 here; set server.workers to 60 or fewer",
    ),
    (
        "[server]\nworkers=2\nmax_generations=60",
        "server.workers",
        2,
        f"{ROWS} 2 x 61 here; set server.workers to 1 or fewer, or server.max_generations to 59 or fewer",
    ),
]


@pytest.fixture(autouse=True)
def two_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker rule looks at the machine: let every machine have two CPUs."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {0, 1})


def refusal(path: str | None, overrides: list[str]) -> tuple[str, str, object, str]:
    with pytest.raises(ConfigError) as caught:
        load(path, overrides)
    error = caught.value
    return error.file, error.key, error.value, error.remedy


def written(folder: Path, content: str | bytes) -> str:
    path = folder / "a.toml"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return str(path)


@pytest.mark.parametrize(("text", "key", "value", "remedy"), IN_A_FILE, ids=lambda case: repr(case)[:40])
def test_refused_in_a_file(tmp_path: Path, text: str, key: str, value: object, remedy: str) -> None:
    file = written(tmp_path, text)
    assert refusal(file, []) == (file, key, value, remedy)
    # The value's type too: 2 == 2.0 == True would hide a converted value.
    with pytest.raises(ConfigError) as caught:
        load(file, [])
    assert repr(caught.value.value) == repr(value)


def test_nan_is_refused(tmp_path: Path) -> None:
    file = written(tmp_path, "[http]\nrequest_seconds=nan")
    named, key, value, remedy = refusal(file, [])
    assert (named, key, str(value), remedy) == (
        file,
        "http.request_seconds",
        "nan",
        "must be a number from 0.1 to 600 (seconds)",
    )


@pytest.mark.parametrize(
    ("content", "remedy"),
    [
        ("a = 1\nb = \nc = 2", "line 2: not TOML: Invalid value; correct this line"),
        ("a = 1\n\n[b", "line 3: not TOML: Expected ']' at the end of a table declaration; correct this line"),
        ("a = 1\nb = '''\n\nx", "line 4: not TOML: Expected \"'''\"; correct this line"),
        ("a = 1\na = 2", "line 2: not TOML: Cannot overwrite a value; correct this line"),
        (b"a = 1\n\nb = '\xff'", "line 3: not UTF-8; save the file as UTF-8"),
        (b"a = " + b"[" * 20_000, "not TOML that can be read: nested too deeply; no key needs it"),
    ],
)
def test_broken_toml(tmp_path: Path, content: str | bytes, remedy: str) -> None:
    file = written(tmp_path, content)
    assert refusal(file, []) == (file, "", None, remedy)


def test_an_int_of_thousands_of_digits(tmp_path: Path) -> None:
    file = written(tmp_path, "a = " + "9" * 5000)
    named, key, value, remedy = refusal(file, [])
    assert (named, key, value) == (file, "", None)
    assert remedy.startswith("not TOML: Exceeds the limit")


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    missing = str(tmp_path / "missing.toml")
    remedy = "cannot be read (No such file or directory); name a readable TOML file"
    assert refusal(missing, []) == (missing, "", None, remedy)
    remedy = "cannot be read (Is a directory); name a readable TOML file"
    assert refusal(str(tmp_path), []) == (str(tmp_path), "", None, remedy)
    assert refusal("a\0b", []) == ("a\0b", "", None, "cannot be read (embedded null byte); name a readable TOML file")


@pytest.mark.parametrize(
    ("text", "key", "value", "remedy"),
    [
        ("memory.streams=no", "memory.streams", "no", "must be a whole number from 1 to 16384 (streams)"),
        ("memory.stream=1", "memory.stream", 1, "no such key in [memory]; did you mean streams?"),
        ("sever.workers=1", "sever", {"workers": 1}, "no such section; did you mean server?"),
        (
            "server.listen=127.0.0.1:1",
            "server.listen",
            "127.0.0.1:1",
            'must be a list of 1 to 16 strings, ["...", "..."]',
        ),
        ("server.listen=['a:1'", "server.listen", "['a:1'", "not a TOML value; close its quotes and brackets"),
        ('hub.path="a', "hub.path", '"a', "not a TOML value; close its quotes and brackets"),
        ("hub.path={}\nx=1", "hub.path", "{}\nx=1", "not a TOML value; close its quotes and brackets"),
        ("hub.path=\udcff\ud800", "hub.path", "\udcff\ud800", "no file can have this name; write one in UTF-8"),
        ('context.paths."/a".framing=x', 'context.paths."/a".framing', "x", FRAMING),
        (
            "context.paths.a.framing=x",
            "context.paths.a",
            {"framing": "x"},
            'a URL path starts with a slash; write "/a"',
        ),
        ("server.listen=[':1']", "server.listen[0]", ":1", ANONYMOUS),
    ],
)
def test_refused_in_an_override(text: str, key: str, value: object, remedy: str) -> None:
    assert refusal(None, ["server.workers=1", text]) == ("--set", key, value, remedy)


NO_OVERRIDES = ["", "=", "a", "server", "server=1", "=1", ".=1", "server.=1", "server..workers=1", "a b.c=1"]
NO_OVERRIDES += ["[server]x=1", "#a.b=1", "server.workers\n=1", "'a.b=1", "ä.b=1"]


@pytest.mark.parametrize("text", NO_OVERRIDES)
def test_what_is_no_override(text: str) -> None:
    remedy = f"{text!r} is not an override; write section.key=value, such as memory.streams=64"
    assert refusal(None, [text]) == ("--set", "", text, remedy)


def test_an_override_does_not_hide_a_broken_file(tmp_path: Path) -> None:
    file = written(tmp_path, "[memory]\nstreams=0")
    remedy = "must be a whole number from 1 to 16384 (streams)"
    assert refusal(file, ["memory.streams=1"]) == (file, "memory.streams", 0, remedy)


def test_a_combination_is_blamed_on_the_source_of_its_key(tmp_path: Path) -> None:
    file = written(tmp_path, "[server]\nlisten=['0.0.0.0:1']\nallow_anonymous=true\nworkers=31\nmax_generations=1")
    assert refusal(file, ["server.allow_anonymous=false", "server.workers=1"])[:2] == (file, "server.listen[0]")
    assert refusal(file, ["server.max_generations=3"])[:3] == (file, "server.workers", 31)
    assert refusal(file, ["server.workers=120"])[:3] == ("--set", "server.workers", 120)


def test_many_cpus_get_as_many_workers_as_there_are_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(64)))
    assert worker_count(load(None, [])) == 30
    assert worker_count(load(None, ["server.max_generations=2"])) == 40


@pytest.mark.parametrize(
    ("text", "key", "value", "remedy"),
    [
        ("[server]\nallow=['1.2.3.4', 'x']", "server.allow[1]", "x", "not a network"),
        ("[server]\ntrusted_proxies=['10.0.0.0/99']", "server.trusted_proxies[0]", "10.0.0.0/99", "not a network"),
        ("[tls]\ncertificate_file='a'", "tls.certificate_file", "a", "is nothing without tls.key_file"),
        ("[tls]\nkey_file='a'", "tls.key_file", "a", "is nothing without tls.certificate_file"),
        ("[tls]\nclient_ca_file='a'", "tls.client_ca_file", "a", "is nothing without tls.certificate_file"),
        (
            "[tls]\ncertificate_file='a'\nkey_file='a'\nrequire_client_certificate=true",
            "tls.require_client_certificate",
            True,
            "is nothing without tls.client_ca_file",
        ),
        ("[tls]\nminimum_version='1.1'", "tls.minimum_version", "1.1", 'must be "1.2" or "1.3"'),
        *(
            (f"[tls]\nprobe_url={url!r}", "tls.probe_url", url, "not where TLS is spoken; write one such as wss://")
            for url in (
                "ws://a/",
                "wss://",
                "wss://a:x/",
                "wss://a:70000/",
                "wss://a b/",
                "a.example:443",
                "wss://a@b/",
            )
        ),
        ("[server]\nproxy_protocol=true", "server.proxy_protocol", True, "needs server.trusted_proxies"),
        ("[auth]\nsecret_header='X Y'", "auth.secret_header", "X Y", "not a header name"),
    ],
)
def test_rules_about_peers(tmp_path: Path, text: str, key: str, value: object, remedy: str) -> None:
    file = tmp_path / "daemon.toml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(str(file), [])
    assert (caught.value.key, caught.value.value) == (key, value)
    assert caught.value.remedy.startswith(remedy)


def test_an_address_beyond_loopback_with_a_proxy_and_a_list_is_taken() -> None:
    listen = 'server.listen=["0.0.0.0:8443"]'
    load(None, [listen, 'server.trusted_proxies=["10.0.0.0/8"]', 'server.allow=["192.0.2.0/24"]'])
    with pytest.raises(ConfigError):
        load(None, [listen, 'server.allow=["192.0.2.0/24"]'])


ENCRYPTED = ["tls.certificate_file=a", "tls.key_file=b"]


@pytest.mark.parametrize("closed", ["auth.keys_file=k", 'server.allow=["192.0.2.0/24"]', "tls.client_ca_file=c"])
def test_an_address_beyond_loopback_with_tls_and_somebody_to_say_who_may_call_is_taken(closed: str) -> None:
    listen = 'server.listen=["0.0.0.0:8443"]'
    required = ["tls.require_client_certificate=true"] if closed.startswith("tls.") else []
    load(None, [listen, *ENCRYPTED, closed, *required])
    for left_out in (ENCRYPTED, [closed, *required]):
        with pytest.raises(ConfigError):
            load(None, [listen, *(item for item in (*ENCRYPTED, closed, *required) if item not in left_out)])


def test_client_certificates_that_need_not_be_shown_keep_nobody_out() -> None:
    with pytest.raises(ConfigError):
        load(None, ['server.listen=["0.0.0.0:8443"]', *ENCRYPTED, "tls.client_ca_file=c"])


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("wss://audio.example.com/", ("audio.example.com", 443)),
        ("wss://audio.example.com", ("audio.example.com", 443)),
        ("https://192.0.2.7:8443/a/b?c", ("192.0.2.7", 8443)),
        ("wss://[2001:db8::1]:1/", ("2001:db8::1", 1)),
    ],
)
def test_where_a_probe_goes(url: str, address: tuple[str, int]) -> None:
    assert load(None, [f"tls.probe_url={url}"]).tls.probe_url == url
    assert probe_address(url) == address


def test_the_message_reads_as_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(None, ["memory.streams=0"])
    assert str(caught.value) == "--set: memory.streams = 0: must be a whole number from 1 to 16384 (streams)"
