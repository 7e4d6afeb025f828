"""docs/proxies.md shows the samples of conf/ as they are, explains lines that they have, and promises what is so."""

import re
from pathlib import Path

import pytest

from audiohook.config import Config, load
from tests.interop.proxies import Sample

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "proxies.md").read_text(encoding="utf-8")
FILES = {"nginx": "nginx/audiohook.conf", "HAProxy, TLS passed through": "haproxy/audiohook.cfg"}
FILES["HAProxy, TLS ended"] = "haproxy/audiohook-tls.cfg"
SAMPLES = sorted(
    path.relative_to(ROOT / "conf") for folder in ("nginx", "haproxy") for path in (ROOT / "conf" / folder).iterdir()
)


def section(title: str) -> str:
    found = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert found, title
    return found[1]


def test_every_sample_is_shown() -> None:
    assert sorted(FILES.values()) == [str(path) for path in SAMPLES]


@pytest.mark.parametrize(("title", "name"), FILES.items(), ids=FILES.values())
def test_what_the_page_shows_of_a_sample_stands_in_it(title: str, name: str) -> None:
    blocks = re.findall(r"```(?:nginx|haproxy)\n(.*?)```", section(title), re.DOTALL)
    (block,) = blocks
    assert len(block.splitlines()) > 5
    assert block in Sample(name).text


@pytest.mark.parametrize(("title", "name"), list(FILES.items())[:2], ids=list(FILES.values())[:2])
def test_every_line_that_is_explained_stands_in_the_sample(title: str, name: str) -> None:
    text = re.sub(r" +", " ", Sample(name).text)
    explained = re.findall(r"^\| (`.*?) \|", section(title), re.MULTILINE)
    assert len(explained) >= 6
    for cell in explained:
        for line in re.findall(r"`([^`]+)`", cell):
            assert line in text, line


@pytest.mark.parametrize("name", FILES.values())
def test_what_a_sample_wants_of_the_daemon_is_a_configuration(name: str) -> None:
    sample = Sample(name)
    config = load(None, sample.settings())
    assert config.server.trusted_proxies == ["127.0.0.1"]
    assert config.server.listen[0] in sample.text.partition("defaults" if "haproxy" in name else "upstream")[2]
    assert config.server.proxy_protocol == ("send-proxy-v2" in sample.text)


def test_the_numbers_of_the_page_are_the_defaults() -> None:
    config = Config()
    assert (config.context.heartbeat_ms, config.audiohook2.paused_idle_seconds) == (4000, 3600)
    assert (config.audiohook2.max_message_bytes, config.context.max_message_bytes) == (65_536, 1 << 20)
    assert config.http.max_request_bytes == 16_384
    assert 65 * 60 == 3900 > config.audiohook2.paused_idle_seconds


@pytest.mark.parametrize("cut", ["worker_shutdown_timeout", "hard-stop-after", "on-marked-down"])
def test_no_sample_cuts_calls(cut: str) -> None:
    assert all(cut not in Sample(name).text for name in FILES.values())
