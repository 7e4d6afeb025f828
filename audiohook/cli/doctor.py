"""`audiohookctl doctor`: whether the daemon can run here and is well, a line for each check, with the remedy.

Works while the daemon is down, up or hung: it reads the shared memory, the files and /proc itself. Knows how findings
are told; what is looked at is in `doctor_probing.py`, what is made of it in `doctor_checks.py`.
"""

import argparse
import json

ALL_WELL, SICK = 0, 1


def add_doctor(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the subparser; `options.run` is then `run_doctor`."""
    text = "what keeps the daemon from running well, and the remedies"
    made = commands.add_parser("doctor", help=text, description=f"{text[0].upper()}{text[1:]}.")
    made.add_argument("--config", metavar="FILE", help="the daemon's configuration (default: as audiohookd finds it)")
    made.add_argument("--set", metavar="SECTION.KEY=VALUE", action="append", default=[], help="as audiohookd has it")
    made.add_argument("--json", action="store_true", help="one JSON object")
    made.set_defaults(run=run_doctor)


def run_doctor(options: argparse.Namespace) -> int:
    """Print the findings. Returns 1 if one of them is FAIL, else 0."""
    # Here, because nobody else at the command line needs the whole daemon imported.
    from audiohook.cli.doctor_checks import judge, worst
    from audiohook.cli.doctor_probing import look
    from audiohook.config import default_path

    found = judge(look(options.config or default_path(), options.set, options.hub))
    if options.json:
        checks = [
            {"check": one.check, "level": one.level, "text": one.text, "remedy": one.remedy or None} for one in found
        ]
        print(json.dumps({"worst": worst(found), "checks": checks}, indent=2))
    else:
        for one in found:
            print(f"{one.level:<5} {one.check:<14} {one.text}" + (f": {one.remedy}" if one.remedy else ""))
    return SICK if worst(found) == "FAIL" else ALL_WELL
