# Every target sets up what it needs. `make` alone lists them.
#
# Variables:  PYTHON=/path/to/python3.12   the interpreter of .venv (default: the newest suitable one)
#             CHROMIUM=/path/to/chrome     the browser of the browser tests; none leaves them out
#             PYTEST_ARGS='-k topics -x'   passed on to pytest
#             BENCH_ARGS='--quick'         passed on to the benchmarks

SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help run demo test test-sqlite test-postgres torture coverage lint format protos lock bench certs screenshots \
        clean setup setup-dev browser

PYTHON ?=
CHROMIUM ?=
PYTEST_ARGS ?=
BENCH_ARGS ?=
export PYTHON CHROMIUM

python := .venv/bin/python
# A first look needs no certificate, and only this machine can see it.
on_localhost := HTTPS_ONLY=false
# tests.settings reads no .env; without DATABASE_URL it makes a SQLite file of its own.
on_sqlite := env -u DATABASE_URL DJANGO_SETTINGS_MODULE=tests.settings
# One more than a small machine has cores: many tests wait for processes of their own.
pytest := $(python) -m pytest -n 3

help: ## list the targets
	@grep -hE '^[a-z-]+:.* ## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.* ## /\1\t/' | sort \
	    | while IFS=$$'\t' read -r target text; do printf '  make %-14s %s\n' "$$target" "$$text"; done

run: setup ## set up, migrate, and serve EMQX and the web interface
	$(python) manage.py migrate --noinput --verbosity 0
	$(python) manage.py first_admin
	@echo "The admin: http://127.0.0.1:8000   The endpoint for EMQX: http://127.0.0.1:9000   Ctrl-C stops both."
	$(on_localhost) $(python) manage.py run_exhook --web 127.0.0.1:8000

demo: setup-dev ## the same with sample devices and a real MQTT broker
	$(python) manage.py migrate --noinput --verbosity 0
	$(python) manage.py first_admin
	$(on_localhost) $(python) manage.py demo

test: test-sqlite test-postgres ## all tests, on SQLite and then on PostgreSQL

test-sqlite: setup-dev browser ## all tests, on SQLite
	$(on_sqlite) $(pytest) $(PYTEST_ARGS)

# Once more what reaches a database; pure code, and pages in a browser, it does not change.
test-postgres: setup-dev ## the tests that reach a database, on a throw-away PostgreSQL
	$(python) -m tests.postgres -- $(pytest) --database-only $(PYTEST_ARGS)

torture: setup-dev ## what takes minutes: a million events, and a process that is killed again and again
	$(on_sqlite) $(python) -m pytest -m torture -o faulthandler_timeout=1800 $(PYTEST_ARGS)
	$(python) -m tests.postgres -- $(python) -m pytest -m torture -o faulthandler_timeout=1800 $(PYTEST_ARGS)

coverage: setup-dev browser ## which lines and branches the tests on SQLite reach
	$(on_sqlite) $(python) -m coverage run -m pytest $(PYTEST_ARGS)
	$(python) -m coverage combine --quiet
	$(python) -m coverage report --skip-covered

lint: setup-dev ## style, types, and that migrations and protos/ are up to date
	$(python) -m ruff check .
	$(python) -m ruff format --check .
	$(python) -m mypy
	$(on_sqlite) $(python) manage.py makemigrations --check --dry-run
	$(python) -m protos.generate --check

format: setup-dev ## put the code into its standard form
	$(python) -m ruff check --fix .
	$(python) -m ruff format .

protos: setup-dev ## generate protos/*_pb2* from the .proto files
	$(python) -m protos.generate

lock: setup-dev ## choose versions anew within requirements*.txt
	$(python) -m uv pip compile --quiet --upgrade --universal --python-version 3.11 \
	    --custom-compile-command "make lock" requirements.txt requirements-dev.txt -o requirements-dev.lock
	$(python) -m uv pip compile --quiet --upgrade --universal --python-version 3.11 \
	    --custom-compile-command "make lock" requirements.txt -c requirements-dev.lock -o requirements.lock

certs: setup ## a CA and certificates in var/certs, to try TLS with
	$(python) manage.py make_certs

bench: setup-dev ## measure, and print how the figures compare with their targets
	$(python) -m benchmarks $(BENCH_ARGS)

screenshots: setup-dev browser ## the pictures in docs/screenshots; look at them before you commit them
	$(on_sqlite) $(python) -m tests.screenshots

clean: ## remove everything that make made, the virtual environment included
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage .coverage.* htmlcov
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

setup: ## the virtual environment, with what the program needs
	@.ci/setup runtime

setup-dev: ## the virtual environment, with what the tests and tools need too
	@.ci/setup dev

browser: setup-dev ## a Chromium for the browser tests
	@.ci/browser
