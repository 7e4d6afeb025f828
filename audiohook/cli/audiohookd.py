"""`audiohookd`: the daemon's command line.

Sets OPENBLAS_NUM_THREADS before anything imports NumPy: its threads would be there when the supervisor forks
(`net/hygiene.py`). Hence the imports inside `main`.
"""

import argparse
import logging
import os
import sys

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


def main(arguments: list[str] | None = None) -> int:
    """Run the daemon. Exit status: 0 ended as told, 2 bad configuration, 3 cannot start, else a worker's own."""
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    from audiohook.config import KeysFile, default_path, load
    from audiohook.errors import BootError, ConfigError

    options = parser().parse_args(arguments)
    try:
        path = options.config or default_path()
        config = load(path, options.set)
        if config.auth.keys_file:
            KeysFile(config.auth.keys_file)  # a start that cannot use it fails here, not in a worker
    except ConfigError as error:
        print(f"audiohookd: {error}", file=sys.stderr)
        return EXIT_CONFIG
    if options.check:
        print(f"audiohookd: {path or 'embedded defaults'}: configuration is good")
        return 0

    from audiohook.cli.service import LOG_FORMAT, serve

    logging.basicConfig(level=config.log.level.upper(), format=LOG_FORMAT, stream=sys.stderr)
    try:
        return serve(config)
    except BootError as error:
        print(f"audiohookd: cannot start: {error}", file=sys.stderr)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
