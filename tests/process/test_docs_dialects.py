"""What docs/context-dialect.md and docs/protocol.md say under "Try it" is so; and every scenario is tried somewhere."""

import re
from pathlib import Path

import numpy as np
import pytest

from audiohook.codec import l16
from audiohook.session.audiohook2_client import offer
from audiohook.wire.client import masked_frame
from tests.support.daemon import ROOT, Daemon
from tests.support.doc_examples import Command, File, Shell, examples, page, stories
from tests.support.genesys import BINARY, MASK, Genesys

PAGES = ("context-dialect.md", "protocol.md")


@pytest.mark.parametrize("name", PAGES)
def test_the_page_goes_as_it_says(name: str, tmp_path: Path) -> None:
    told = stories(page(name))
    assert list(told) == ["Try it"]
    with Shell(tmp_path) as shell:
        shell.play(told["Try it"])


def test_the_configuration_of_the_page_takes_l16_first_and_reads_it_so(tmp_path: Path) -> None:
    (file,) = (one for one in examples(page("protocol.md")) if isinstance(one, File))
    path = tmp_path / "audiohookd.toml"
    path.write_text(file.text)
    offers = tuple(offer("external", media_format=name) for name in ("PCMU", "L16"))
    with (
        Daemon(arguments=("--config", str(path))) as daemon,
        Genesys(daemon.wait_ready().address, offers=offers) as peer,
    ):
        peer.opened()
        samples = np.random.default_rng(3).integers(-20_000, 20_000, 800).astype(np.int16)
        peer.socket.sendall(masked_frame(l16.encode(samples, "big"), MASK, BINARY))
        peer.client.audio_sent(len(samples))
        peer.close()
        stream = daemon.hub.open(call_id=peer.caller.conversation_id)
        assert stream.codec == "l16"
        (block,) = stream.blocks(800, start="oldest")
        assert np.array_equal(block.samples[:, 0], samples)


def test_every_scenario_is_tried_on_a_page_that_a_test_runs() -> None:
    names = ("access.md", "load.md", "article.md", *PAGES)
    given = " ".join(one.text for name in names for one in examples(page(name)) if isinstance(one, Command))
    there = {str(path.relative_to(ROOT)) for path in (ROOT / "conf" / "scenarios").glob("*.toml")}
    assert set(re.findall(r"--scenario (\S+)", given)) == there
