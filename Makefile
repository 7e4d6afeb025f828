# Two commands are for everybody: `make run` and `make test`. Both set up `.venv` first: nothing is installed into the
# system and no compiler is needed. PYTHON names another interpreter: `make test PYTHON=python3.12`.

PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
INSTALLED := $(VENV)/installed
PIP := $(PY) -m pip --disable-pip-version-check install --quiet --constraint constraints.txt

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help run test test-systemd conformance fuzz latency faults soak bench bench-all bench-parts lint types check conf clean check-host $(VENV)

help:  ## what can be made (this list)
	@sed -n 's/^\([a-z-]*\):.*  ## \(.*\)/make \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 18

run: $(INSTALLED)  ## eight calls of real speech through the daemon, read back and verified; SECONDS=20 ends by itself
	@$(PY) -m audiohook.cli.demo $(if $(SECONDS),--seconds $(SECONDS))

test: $(INSTALLED)  ## the whole test suite; ARGS="-k framing" passes arguments to pytest
	$(PY) -m pytest --numprocesses 3 --dist loadfile --ignore tests/systemd $(ARGS)

test-systemd: $(INSTALLED)  ## the unit under a real systemd, in namespaces; needs root, says why where it cannot
	$(PY) -m pytest -rs tests/systemd $(ARGS)

conformance: $(INSTALLED)  ## RFC 6455 by the Autobahn cases, against our own echo server; PYTHON2 names a Python 2.7
	@$(if $(PYTHON2),PYTHON2=$(PYTHON2)) $(PY) -m tests.interop.conformance

fuzz: $(INSTALLED)  ## mutated inputs to what reads a peer's bytes; SECONDS=60 in all, or INPUTS=1000000 each; SEED=, TARGETS=
	@$(PY) -m tests.fuzz.run $(if $(SECONDS),--seconds $(SECONDS)) $(if $(INPUTS),--inputs $(INPUTS)) \
		$(if $(SEED),--seed $(SEED)) $(TARGETS)

latency: $(INSTALLED)  ## open to opened with 500 calls live and every reader stopped; ARGS="--opens 5000"
	@$(PY) -m tests.latency.run $(ARGS)

faults: $(INSTALLED)  ## faults of the host under 200 live calls, one table; ROWS="kill-worker stall" CALLS=200 SECONDS=3 JSON=FILE
	@$(PY) -m tests.faults.run $(ROWS) $(if $(CALLS),--calls $(CALLS)) $(if $(SECONDS),--seconds $(SECONDS)) \
		$(if $(JSON),--json $(JSON))

soak: $(INSTALLED)  ## calls that come and go at 70 % of capacity, nothing may grow: MINUTES=30 CALLS=100 SEED=0
	@$(PY) -m tests.soak.run $(if $(MINUTES),--minutes $(MINUTES)) $(if $(CALLS),--calls $(CALLS)) \
		$(if $(SEED),--seed $(SEED))

bench: $(INSTALLED)  ## ours, C, libopus alone and picows side by side, under 10 minutes; needs gcc: JSON=FILE ARGS="--quick"
	@$(PY) -m tests.bench.peers.install || true
	@$(PY) -m tests.bench.run $(if $(JSON),--json $(JSON)) $(ARGS)

bench-all: $(INSTALLED)  ## the same with every server and load, and how many calls each sustains: about an hour
	@$(PY) -m tests.bench.peers.install || true
	@$(PY) -m tests.bench.run --all $(if $(JSON),--json $(JSON)) $(ARGS)

bench-parts: $(INSTALLED)  ## one part after the other: instructions, new connections, answers, readers, memory, idle connections
	@for part in instructions accept answers readers memory idle; do \
		echo; echo "== $$part"; $(PY) -m tests.bench.$$part || exit 1; done

lint: $(INSTALLED)  ## ruff: rules and format
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

types: $(INSTALLED)  ## mypy, strict, on the package
	$(PY) -m mypy

check: lint types test  ## lint, types and test

conf: $(INSTALLED)  ## conf/audiohookd.toml anew from the schema
	$(PY) -c 'from audiohook.config import render; print(render(), end="")' > conf/audiohookd.toml.new
	mv conf/audiohookd.toml.new conf/audiohookd.toml

clean:  ## remove what was made: .venv, var and caches
	rm -rf $(VENV) var build *.egg-info .hypothesis .mypy_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV): $(INSTALLED)

# The build's own tools come first and from constraints.txt too: an isolated build would fetch whatever is newest. `bin/`
# is listed because its files are installed as copies.
$(INSTALLED): Makefile setup.py constraints.txt $(wildcard bin/*)
	@$(MAKE) --no-print-directory check-host
	@echo "setting up $(VENV)"
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) setuptools wheel
	@$(PIP) --no-build-isolation --editable '.[develop]'
	@touch $@

# Written for every Python there is, so that an old one says what is wrong instead of where it cannot parse.
check-host:
	@command -v $(PYTHON) > /dev/null || { echo "$(PYTHON) not found: Python 3.11 or later is needed" >&2; exit 1; }
	@$(PYTHON) -c "$$CHECK_HOST"

define CHECK_HOST
import os, sys
system, _, release, _, machine = os.uname()
kernel = tuple([int("".join([c for c in part if c.isdigit()] or ["0"])) for part in release.split("-")[0].split(".")[:2]])
wrong = []
if sys.version_info < (3, 11):
    wrong.append("Python 3.11 or later is needed, %s is %d.%d: make PYTHON=python3.11" % ((sys.executable,) + sys.version_info[:2]))
if system != "Linux" or kernel < (5, 16):
    wrong.append("Linux 5.16 or later is needed, this is %s %s" % (system, release))
if machine != "x86_64":
    wrong.append("x86-64 is needed, this is %s" % machine)
sys.exit("\n".join(wrong) or 0)
endef
export CHECK_HOST
