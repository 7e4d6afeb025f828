"""`make conformance`: RFC 6455 by the Autobahn cases 1 to 7, 9 and 10, against our own echo server, and the verdict.

Left out are the cases 12 and 13: they test permessage-deflate, which is never negotiated here.
"""

import json
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.interop.tools import Installer, ToolError, find_python2, run_logged
from tests.interop.verdict import read_verdict
from tests.support.echo import echo_server

FOLDER = Path("var/conformance")
REPORT = FOLDER / "report"
CASES = ["1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "9.*", "10.*"]
EXPECTED_CASES = 301
RUN_SECONDS = 240

Run = Callable[[int], None]
"""Puts the cases to the server at that port and leaves its judgement in REPORT."""


def main() -> int:
    """Run the cases, print what is wrong and a line of summary; return the exit status."""
    try:
        name, run = _tool()
        shutil.rmtree(REPORT, ignore_errors=True)
        started = time.monotonic()
        with echo_server() as port:
            run(port)
        return _judge(name, time.monotonic() - started)
    except ToolError as error:
        print(error, file=sys.stderr)
        return 2


def _tool() -> tuple[str, Run]:
    installer = Installer(FOLDER)
    python2 = find_python2()
    if python2 is not None:
        wstest = installer.wstest(python2)
        return "Autobahn test suite", lambda port: _run_autobahn(wstest, port)
    print(
        "no Python 2.7 found (PYTHON2, the search path, pyenv): the same cases in kosoku instead of the Autobahn suite"
    )
    kosoku = installer.kosoku()
    return "kosoku", lambda port: _run_kosoku(kosoku, port)


def _run_autobahn(wstest: Path, port: int) -> None:
    server = {"agent": "audiohook", "url": f"ws://127.0.0.1:{port}"}
    rest = {"cases": CASES, "exclude-cases": [], "exclude-agent-cases": {}}
    spec = FOLDER / "spec.json"
    spec.write_text(json.dumps({"outdir": str(REPORT), "servers": [server], **rest}), encoding="utf-8")
    run_logged([str(wstest), "-m", "fuzzingclient", "-s", str(spec)], FOLDER / "run.log", RUN_SECONDS)


def _run_kosoku(kosoku: Path, port: int) -> None:
    # 9.1 and 9.2 too: it waits for ever only for servers that echo a message piece by piece, and not longer than this.
    include = [argument for case in CASES for argument in ("--include", case)]
    command = [str(kosoku), f"127.0.0.1:{port}", "--outdir", str(REPORT), *include]
    run_logged(command, FOLDER / "run.log", RUN_SECONDS, good_statuses=(0, 1))


def _judge(tool: str, seconds: float) -> int:
    index = REPORT / "index.json"
    if not index.exists():
        raise ToolError(f"{tool} left no {index}; see {FOLDER / 'run.log'}")
    verdict = read_verdict(index, EXPECTED_CASES)
    for line in verdict.wrong:
        print(line)
    print(
        f"{tool}: {verdict.cases} cases in {seconds:.0f} s: {len(verdict.wrong)} FAILED or NON-STRICT, "
        f"{verdict.informational} informational ({REPORT / 'index.html'})"
    )
    return 1 if verdict.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
