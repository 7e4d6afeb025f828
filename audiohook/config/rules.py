"""The rules that a type and two bounds cannot express: the syntax of some strings, and what keys forbid one another.

Knows the schema, and nothing of TOML or of where a value came from: the caller names the file. Every function raises
ConfigError or returns nothing.
"""

import os
import re
from collections.abc import Callable, Mapping
from typing import Any

from audiohook.auth.addresses import AddressList
from audiohook.config.address import parse_address
from audiohook.config.complaint import dotted, refused
from audiohook.config.effective import worker_count
from audiohook.config.principals import resolve_principals
from audiohook.config.schema import HUB_PATH_BYTES, LARGEST_FIXED_PACKET_BYTES, WORKER_ROWS, Config

_FIXED = re.compile(r"fixed:([1-9][0-9]{0,3})")
_HEADER_NAME = re.compile(r"[a-z0-9!#$%&'*+.^_`|~-]+")
_URL_PATH = re.compile(r'/[!"$->@-~]*')  # visible ASCII but ? and #

_PROBE_URL = re.compile(
    r"(?:wss|https)://(?P<host>\[[^\[\]/]+\]|[^/?#@:\[\]]+)(?::(?P<port>[0-9]{1,5}))?(?:/[!-\"$-~]*)?"
)


def check_framing(file: str, key: str, framing: str) -> None:
    """Refuse what is none of "message", "self_delimited" and "fixed:N"."""
    if framing in ("message", "self_delimited"):
        return
    match = _FIXED.fullmatch(framing)
    if match is None or int(match[1]) > LARGEST_FIXED_PACKET_BYTES:
        remedy = (
            'must be "message", "self_delimited", or "fixed:N" with N from 1 to '
            f'{LARGEST_FIXED_PACKET_BYTES}, such as "fixed:160"'
        )
        raise refused(file, key, framing, remedy)


def check_url_path(file: str, key: str, path: str, value: object) -> None:
    """Refuse a key of context.paths that no request's path can equal."""
    if not path.startswith("/"):
        raise refused(file, key, value, f"a URL path starts with a slash; write {dotted('/' + path)}")
    if _URL_PATH.fullmatch(path) is None:
        remedy = "no request has this path; write visible ASCII without ? and #, and percent-encode the rest"
        raise refused(file, key, value, remedy)


def _check_listen(file: str, key: str, entries: list[str]) -> None:
    for index, text in enumerate(entries):
        if parse_address(text) is None:
            remedy = 'not an address; write "host:port" or "[v6]:port" with a port from 0 to 65535'
            raise refused(file, f"{key}[{index}]", text, remedy)


def _check_hub_path(file: str, key: str, path: str) -> None:
    try:
        encoded = os.fsencode(path)
    except ValueError:
        raise refused(file, key, path, "no file can have this name; write one in UTF-8") from None
    if b"\0" in encoded:
        raise refused(file, key, path, "no file can have this name; leave out the NUL")
    if len(encoded) > HUB_PATH_BYTES:
        remedy = f"{len(encoded)} bytes, and a Unix socket's path has {HUB_PATH_BYTES} at most; choose a shorter one"
        raise refused(file, key, path, remedy)


def _check_principals(file: str, key: str, entries: list[str]) -> None:
    resolve_principals(entries, file, key)


def _check_networks(file: str, key: str, entries: list[str]) -> None:
    for index, text in enumerate(entries):
        try:
            AddressList([text])
        except ValueError:
            remedy = 'not a network; write one such as "192.0.2.0/24", "2001:db8::/32" or "192.0.2.7"'
            raise refused(file, f"{key}[{index}]", text, remedy) from None


def _check_header_name(file: str, key: str, name: str) -> None:
    if _HEADER_NAME.fullmatch(name) is None:
        raise refused(file, key, name, 'not a header name in lower case; write one such as "x-audiohook-secret"')


def _check_probe_url(file: str, key: str, url: str) -> None:
    if url and (_PROBE_URL.fullmatch(url) is None or parse_address(_authority(url)) is None):
        raise refused(file, key, url, "not where TLS is spoken; write one such as wss://audio.example.com/")


def _authority(url: str) -> str:
    """Return host and port of a URL of the syntax above; 443 where it names none (RFC 6455 section 3)."""
    match = _PROBE_URL.fullmatch(url)
    assert match is not None
    return f"{match['host']}:{match['port'] or 443}"


def probe_address(url: str) -> tuple[str, int]:
    """Return host and port of a tls.probe_url that has been checked. The host as it is written: a name to be shown."""
    host, _, port = _authority(url).rpartition(":")
    return host.strip("[]"), int(port)


VALUE_RULES: Mapping[str, Callable[[str, str, Any], None]] = {
    "server.listen": _check_listen,
    "server.allow": _check_networks,
    "server.trusted_proxies": _check_networks,
    "auth.secret_header": _check_header_name,
    "tls.probe_url": _check_probe_url,
    "context.framing": check_framing,
    "hub.path": _check_hub_path,
    "hub.read": _check_principals,
    "hub.speak": _check_principals,
    "hub.operate": _check_principals,
}


def check_combinations(config: Config, origins: Mapping[str, str]) -> None:
    """Refuse keys that are right each for itself and impossible together.

    `origins` says for each key that was set which file (or "--set") set it; the others are "defaults".
    """
    _check_worker_rows(config, origins)
    _check_listeners(config, origins.get("server.listen", "defaults"))
    _check_tls(config, origins)
    if config.server.proxy_protocol and not config.server.trusted_proxies:
        file = origins.get("server.proxy_protocol", "defaults")
        remedy = "needs server.trusted_proxies: only their PROXY headers are believed"
        raise refused(file, "server.proxy_protocol", True, remedy)


def _check_tls(config: Config, origins: Mapping[str, str]) -> None:
    tls = config.tls
    for name, needed in (
        ("certificate_file", "key_file"),
        ("key_file", "certificate_file"),
        ("client_ca_file", "certificate_file"),
        ("require_client_certificate", "client_ca_file"),
    ):
        value = getattr(tls, name)
        if value and not getattr(tls, needed):
            file = origins.get(f"tls.{name}", "defaults")
            raise refused(file, f"tls.{name}", value, f"is nothing without tls.{needed}; set both")


def _check_worker_rows(config: Config, origins: Mapping[str, str]) -> None:
    generations = config.server.max_generations + 1
    workers = worker_count(config)
    if workers * generations <= WORKER_ROWS:
        return
    # Blame the key that somebody set: 0 workers may be a default that was right until then.
    blamed = "workers" if "server.workers" in origins or "server.max_generations" not in origins else "max_generations"
    remedy = (
        f"workers x (max_generations + 1) may be {WORKER_ROWS} at most, and is {workers} x {generations} here; "
        f"set server.workers to {WORKER_ROWS // generations} or fewer"
    )
    if workers * 2 <= WORKER_ROWS:
        remedy += f", or server.max_generations to {WORKER_ROWS // workers - 1} or fewer"
    key = f"server.{blamed}"
    raise refused(origins.get(key, "defaults"), key, getattr(config.server, blamed), remedy)


def _names_some(networks: list[str]) -> bool:
    """Return whether a list of networks says who, and not that it is everybody ("0.0.0.0/0")."""
    return bool(networks) and not AddressList(networks).unbounded


def _check_listeners(config: Config, file: str) -> None:
    places: dict[tuple[str, int], int] = {}
    for index, text in enumerate(config.server.listen):
        address = parse_address(text)
        assert address is not None, "checked with the value"
        key = f"server.listen[{index}]"
        first = places.setdefault((address.host, address.port), index)
        if first != index:
            raise refused(file, key, text, f"the same address as server.listen[{first}]; name each once")
        encrypted = config.tls.certificate_file or _names_some(config.server.trusted_proxies)
        named = config.auth.keys_file or _names_some(config.server.allow)
        closed = named or config.tls.require_client_certificate
        guarded = encrypted and closed
        if not address.loopback and not guarded and not config.server.allow_anonymous:
            remedy = (
                "not a loopback address, so TLS (tls.certificate_file, or a proxy that ends it: "
                "server.trusted_proxies) and somebody to say who may call (auth.keys_file, server.allow or "
                "tls.require_client_certificate) are needed; set them, listen on 127.0.0.1, [::1] or localhost, or set "
                "server.allow_anonymous = true to let anybody who reaches this address place calls"
            )
            raise refused(file, key, text, remedy)
