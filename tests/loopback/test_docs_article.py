"""The configuration and the commands of docs/article.md do what the page says, as they stand but for the address."""

import re
from collections.abc import Iterator

import pytest

from tests.support.daemon import Daemon
from tests.support.doc_examples import Command, Shell, examples, page

TEXT = page("article.md")
COMMANDS = [one for one in examples(TEXT) if isinstance(one, Command)]
(CONFIGURATION,) = re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL)


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    file = tmp_path_factory.mktemp("configuration") / "audiohookd.toml"
    file.write_text(CONFIGURATION)
    with Daemon(arguments=("--config", str(file))) as daemon, Shell(tmp_path_factory.mktemp("shell")) as made:
        made.use(daemon.wait_ready())
        yield made


def test_there_is_something_to_run() -> None:
    assert len(COMMANDS) == TEXT.count("audiohook-load") - TEXT.count("`audiohook-load")


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.text)
def test_a_command_of_the_page_succeeds(shell: Shell, command: Command) -> None:
    shell.give(command)
    assert shell.daemon is not None
    assert {stream.sample_rate for stream in shell.daemon.hub.streams(ended=True)} == {8000}
