"""`audiohookd`: the daemon's command line.

Sets OPENBLAS_NUM_THREADS before anything imports NumPy: its threads would be there when the supervisor forks
(`net/hygiene.py`). Hence the imports inside `main`.
"""

import argparse
import os
import signal
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from audiohook.config import Config

EXIT_CONFIG = 2


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="audiohookd",
        description="Takes in live telephone audio over WebSockets and hands it to readers through shared memory.",
    )
    made.add_argument("--config", metavar="FILE", help="configuration (default: /etc/audiohook/audiohookd.toml)")
    made.add_argument(
        "--set",
        metavar="SECTION.KEY=VALUE",
        action="append",
        default=[],
        help="override one value of the configuration; may be given more than once",
    )
    made.add_argument("--check", action="store_true", help="check the configuration and leave: 0 if good, 2 if not")
    return made


def read_config(options: argparse.Namespace) -> tuple[str | None, "Config"]:
    """Return the configuration that the command line names, and its file. Raises ConfigError.

    A start that cannot use the files which it names fails here, not in a worker.
    """
    from audiohook.config import KeysFile, default_path, load

    path = options.config or default_path()
    config = load(path, options.set)
    if config.auth.keys_file:
        KeysFile(config.auth.keys_file)
    if config.tls.certificate_file:
        from audiohook.net.tls_pair import TlsPair

        TlsPair(config.tls)
    return path, config


def main(arguments: list[str] | None = None) -> int:
    """Run the daemon. Exit status: 0 ended as told, 2 bad configuration, 3 cannot start, else a worker's own."""
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    # There is nothing to reload yet, and by default a HUP would be the end.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    from audiohook.errors import BootError, ConfigError

    given = sys.argv[1:] if arguments is None else arguments
    options = parser().parse_args(given)
    try:
        path, config = read_config(options)
    except ConfigError as error:
        print(f"audiohookd: {error}", file=sys.stderr)
        return EXIT_CONFIG
    if options.check:
        print(f"audiohookd: {path or 'embedded defaults'}: configuration is good")
        return 0

    from audiohook.cli.service import serve
    from audiohook.net.journal import begin_logging

    begin_logging(config.log.level)
    try:
        return serve(config, given)
    except BootError as error:
        print(f"audiohookd: cannot start: {error}", file=sys.stderr)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
