"""The commands and the scenario of docs/load.md do what they say, as they stand but for the address."""

import re
from collections.abc import Iterator

import pytest

from tests.support.daemon import Daemon
from tests.support.doc_examples import Command, Shell, examples, page

TEXT = page("load.md")
COMMANDS = [one for one in examples(TEXT) if isinstance(one, Command)]
SCENARIOS = re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL)


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    with Daemon() as daemon, Shell(tmp_path_factory.mktemp("shell")) as made:
        made.use(daemon.wait_ready())
        yield made


def test_there_is_something_to_run() -> None:
    assert len(COMMANDS) == len(re.findall(r"^audiohook-load ", TEXT, re.MULTILINE)) > 0


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.text)
def test_a_command_of_the_page_succeeds(shell: Shell, command: Command) -> None:
    shell.give(command)


def test_the_scenario_of_the_page_goes_as_it_says(shell: Shell) -> None:
    (scenario,) = SCENARIOS
    status, out = shell.run(
        f"cat > story.toml <<'END'\n{scenario}END\naudiohook-load run ws://127.0.0.1:8443/ --scenario story.toml"
    )
    assert status == 0, out
    assert out.startswith("ok      story: a pause")


def test_every_option_of_the_commands_is_on_the_page(shell: Shell) -> None:
    shown = shell.run("audiohook-load run --help")[1] + shell.run("audiohook-load probe --help")[1]
    own = {"--help", "--hub", "--audio", "--seed", "--connects-per-second"}
    options = set(re.findall(r"(--[a-z][a-z0-9-]+)", shown))
    assert own < options
    assert options - own <= set(re.findall(r"(--[a-z][a-z0-9-]+)", TEXT))
