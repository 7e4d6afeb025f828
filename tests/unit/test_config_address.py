"""Listen addresses, and who may attach."""

import grp
import os
import pwd

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiohook.config import Address, Principals, parse_address, resolve_principals
from audiohook.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "host", "port", "loopback"),
    [
        ("127.0.0.1:8443", "127.0.0.1", 8443, True),
        ("127.8.0.1:0", "127.8.0.1", 0, True),
        ("localhost:65535", "127.0.0.1", 65535, True),
        ("LocalHost.:1", "127.0.0.1", 1, True),
        ("[::1]:8443", "::1", 8443, True),
        ("[0:0::1]:8443", "::1", 8443, True),
        ("[::ffff:127.0.0.1]:1", "::ffff:7f00:1", 1, True),
        ("[::ffff:10.0.0.1]:1", "::ffff:a00:1", 1, False),
        ("0.0.0.0:8443", "0.0.0.0", 8443, False),
        (":8443", "0.0.0.0", 8443, False),
        ("[::]:8443", "::", 8443, False),
        ("[fe80::1%eth0]:8443", "fe80::1%eth0", 8443, False),
        ("10.1.2.3:08443", "10.1.2.3", 8443, False),
        ("Audio.Example.com:443", "audio.example.com", 443, False),
        ("localhost.example.com:443", "localhost.example.com", 443, False),
        ("host-1:443", "host-1", 443, False),
        ("3com:443", "3com", 443, False),
    ],
)
def test_addresses(text: str, host: str, port: int, loopback: bool) -> None:
    parsed = parse_address(text)
    assert parsed is not None
    assert (parsed.host, parsed.port, parsed.loopback) == (host, port, loopback)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "8443",
        "127.0.0.1",
        "127.0.0.1:",
        "127.0.0.1:65536",
        "127.0.0.1:-1",
        "127.0.0.1:+1",
        "127.0.0.1: 1",
        "127.0.0.1:1\n",
        "127.0.0.1:٣",
        "127.0.0.1:http",
        "127.0.0.1:000001",
        "127.0.0.1.1:1",
        "127.1:1",
        "010.0.0.1:1",
        "256.0.0.1:1",
        "::1:8443",
        "[::1]",
        "[::1:8443",
        "[]:8443",
        "[127.0.0.1]:1",
        "[::1]x:1",
        "*:8443",
        "-a.example:1",
        "a..b:1",
        "a b:1",
        "höst:1",
        "http://a:1",
        "a" * 64 + ":1",
        "a." * 127 + "a:1",
    ],
)
def test_what_is_no_address(text: str) -> None:
    assert parse_address(text) is None


@given(st.text(alphabet="[]:.%0127f-a \n") | st.text())
def test_any_text_is_an_address_or_is_not(text: str) -> None:
    parsed = parse_address(text)
    if parsed is not None:
        assert 0 <= parsed.port <= 65535
        again = f"[{parsed.host}]:{parsed.port}" if ":" in parsed.host else f"{parsed.host}:{parsed.port}"
        assert parse_address(again) == Address(parsed.host, parsed.port, parsed.loopback)


OWN = frozenset({0, os.geteuid()})


def test_principals() -> None:
    assert resolve_principals([]) == Principals(OWN, frozenset(), any=False)
    assert resolve_principals(["any"]) == Principals(OWN, frozenset(), any=True)
    user, group = pwd.getpwall()[-1], grp.getgrall()[-1]
    resolved = resolve_principals([f"user:{user.pw_name}", "user:4294967294", f"group:{group.gr_name}", "group:77"])
    assert resolved == Principals(OWN | {user.pw_uid, 4294967294}, frozenset({group.gr_gid, 77}), any=False)


def test_who_is_admitted() -> None:
    principals = Principals(frozenset({0, 5}), frozenset({70, 71}), any=False)
    assert principals.admit(5, [])
    assert principals.admit(6, [1, 71])
    assert not principals.admit(6, [1, 72])
    assert not principals.admit(70, [5])
    assert not Principals(OWN, frozenset(), any=False).admit(4_000_000, [4_000_000])
    assert Principals(OWN, frozenset(), any=True).admit(4_000_000, [4_000_000])


SYNTAX = 'not a principal; write "user:NAME", "user:UID", "group:NAME", "group:GID" or "any"'
NO_USER = "this machine has no such user; name one that exists, or its number"
NO_GROUP = "this machine has no such group; name one that exists, or its number"


@pytest.mark.parametrize(
    ("entry", "remedy"),
    [
        ("", SYNTAX),
        ("Any", SYNTAX),
        ("any:", SYNTAX),
        ("root", SYNTAX),
        ("0", SYNTAX),
        ("user:", SYNTAX),
        (":0", SYNTAX),
        ("uid:0", SYNTAX),
        (" user:0", SYNTAX),
        ("user:no such user", NO_USER),
        ("user:-1", NO_USER),
        ("user:٣", NO_USER),
        ("user:a\0b", NO_USER),
        ("user:\udcff", NO_USER),
        ("user:4294967295", NO_USER),
        ("user:" + "9" * 5000, NO_USER),
        ("group:no such group", NO_GROUP),
        ("group:a\0b", NO_GROUP),
        ("group:4294967295", NO_GROUP),
    ],
)
def test_principals_that_are_none(entry: str, remedy: str) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve_principals(["user:0", entry], "x.toml")
    error = caught.value
    assert (error.file, error.key, error.value, error.remedy) == ("x.toml", "hub.read[1]", entry, remedy)
