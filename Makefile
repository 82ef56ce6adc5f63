# PORT, DATA_DIR, DEMO and every other setting (docs/settings.md) come from the environment or from
# make's own command line: `make up PORT=8100 DATA_DIR=/srv/okno DEMO=0`.
VENV := .venv
PYTHON ?= $(shell command -v python3.11 || command -v python3)
RUN := $(VENV)/bin/python
MANAGE := $(RUN) manage.py
REQUIREMENTS := requirements.txt tests/requirements.txt

.PHONY: up install test faults check audit demo-data messages requirements
.DEFAULT_GOAL := up

up: install
	@exec $(MANAGE) up --die-with-parent

# Quick when nothing changed: the stamp holds the requirements' checksum and the folder (a copied .venv
# is made anew). The lock lets `make up` and `make test` start together on a fresh clone.
install:
	@exec 9>.install.lock && { flock 9 2>/dev/null || true; } && \
	key="$$(cat $(REQUIREMENTS) | cksum | tr ' ' -) $(CURDIR)" && \
	if [ "$$(cat $(VENV)/.stamp 2>/dev/null)" != "$$key" ]; then \
		"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11")' && \
		echo "installing the requirements into $(VENV) (about a minute)" && \
		"$(PYTHON)" -m venv --clear $(VENV) && \
		$(RUN) -m pip install -qq --disable-pip-version-check $(addprefix -r ,$(REQUIREMENTS)) && \
		echo "$$key" > $(VENV)/.stamp; \
	fi

# Three processes on two cores: the tests on real processes mostly wait, and their files are the first to begin.
test: install
	@$(RUN) -m pytest -n 3 --dist loadfile --no-loadscope-reorder $(ARGS)

# Everything broken on purpose, at full length (hours); SHORT=1: the longest shortened, about three quarters of an hour.
faults: install
	@$(RUN) -m tests.faults $(ARGS)

# The production check sees production's settings, whatever this shell has set.
check: install
	@$(RUN) -m ruff check .
	@$(RUN) -m ruff format --check .
	@$(RUN) -m mypy
	@$(MANAGE) makemigrations --check --dry-run
	@env -u DEBUG -u RELAY_ALLOWED_PRIVATE_CIDRS PUBLIC_URL=https://okno.example BEHIND_PROXY=yes \
		$(MANAGE) check --deploy --fail-level WARNING
	@$(RUN) -m tests.translations

# Security rules, secrets, licenses; known vulnerabilities and the SBOM (build/audit/), where a package index is reached.
audit: install
	@$(RUN) -m tests.audit

# Much believable data, for measuring: SIZE chats of ten messages each. Into a data folder of its own, or an empty one.
SIZE ?= 10000
demo-data: install
	@$(MANAGE) demo_data --size $(SIZE)

messages: install
	@$(MANAGE) messages

# Needs uv (https://docs.astral.sh/uv/) on the PATH; the versions are those of the index it is set to.
requirements:
	uv pip compile -q --upgrade --generate-hashes --python-version 3.11 --no-emit-index-url --no-header config/requirements.in -o requirements.txt
	uv pip compile -q --upgrade --generate-hashes --python-version 3.11 --no-emit-index-url --no-header tests/requirements.in -o tests/requirements.txt
	uv pip compile -q --upgrade --generate-hashes --python-version 3.11 --no-emit-index-url --no-header tests/audit/requirements.in -o tests/audit/requirements.txt
