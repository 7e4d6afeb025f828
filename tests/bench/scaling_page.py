"""The tables of docs/scaling.md anew from docs/capacity.json: `.venv/bin/python -m tests.bench.scaling_page`.

The page's `console` blocks are commands of `audiohookctl capacity` with `--costs`, and what these print. To bring other
figures into the page, measure (`audiohookctl capacity --json > docs/capacity.json`, on a quiet machine) and run this.
tests/unit/test_docs_scaling.py holds the page to it.
"""

import contextlib
import io
import re
import shlex
from pathlib import Path

from audiohook.cli import audiohookctl

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "scaling.md"

_BLOCK = re.compile(r"^```console\n\$ audiohookctl (capacity [^\n]*--costs [^\n]*)\n.*?^```$", re.MULTILINE | re.DOTALL)


def printed(command: str) -> str:
    """Return what a command of `audiohookctl` prints, run at the root of the project."""
    output = io.StringIO()
    with contextlib.chdir(ROOT), contextlib.redirect_stdout(output):
        status = audiohookctl.main(shlex.split(command))
    if status:
        raise RuntimeError(f"audiohookctl {command} ended with {status}")
    return output.getvalue()


def commands_of(text: str) -> list[str]:
    """Return the commands whose output the page shows."""
    return _BLOCK.findall(text)


def rendered(text: str) -> str:
    """Return the page with what its commands print now."""
    return _BLOCK.sub(lambda block: f"```console\n$ audiohookctl {block[1]}\n{printed(block[1])}```", text)


def main() -> None:
    PAGE.write_text(rendered(PAGE.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
