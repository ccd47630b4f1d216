# The commands for people and for CI; `make` alone lists them.
# On a new machine they need Python 3.11 or later, git and make, and fetch the rest.

ARGS ?=
# Most tests wait for something rather than compute; JOBS=0 runs them in one process.
JOBS ?= 4
BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help demo test check lint format docs docs-serve pictures bench soak dist clean venv lock

help: ## List the commands
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 12

demo: venv ## Show effectmq at work, then a whole agent turn, without any broker
	$(BIN)/effectmq demo $(ARGS)
	@echo && echo "An agent, one whole turn of it: examples/agent" && echo
	$(BIN)/python -m examples.agent --twice --broker memory://
	@echo && echo "In a browser, full of life: $(BIN)/effectmq dashboard --demo, then open http://127.0.0.1:9480/"

# Hundreds of processes start in the tests; each would compile the sources anew.
test: export PYTHONDONTWRITEBYTECODE :=
test: venv ## All tests, on real brokers where they can be had; ARGS="-k lease" for some
	$(BIN)/python -m tests.brokers
	$(BIN)/python -m tests.databases
	$(BIN)/python -m tests.browsers
	$(BIN)/python -m tests.deploy
	$(BIN)/pytest --numprocesses $(JOBS) --dist worksteal --cov --cov-report= $(ARGS) || \
		$(BIN)/python -m tests.again $$?
	$(BIN)/coverage report $(if $(ARGS),--fail-under=0)

check: lint ## Style, types and import rules
	$(BIN)/mypy
	$(BIN)/pyright
	$(BIN)/lint-imports

lint: venv ## Style only
	$(BIN)/ruff check
	$(BIN)/ruff format --check

format: venv ## Put the style right where a tool can
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

docs: venv ## Build the site into build/site; open build/site/index.html
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build $(ARGS)

docs-serve: venv ## Show the site on http://127.0.0.1:8000 while pages change
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs serve --livereload $(ARGS)

pictures: venv ## Take the pictures of the dashboard for the docs; needs chromium
	$(BIN)/python scripts/pictures.py

bench: venv ## Measure, and compare with plain aio-pika
	$(BIN)/python -m benchmarks $(ARGS)

soak: venv ## Keep killing workers, brokers and databases; ARGS="--journal sqlite" for one run
	$(BIN)/python -m tests.scenarios.soak $(ARGS)

dist: venv ## Build wheel and sdist, and try each in an environment of its own
	rm -rf dist
	$(BIN)/python -m hatchling build
	PYTHON="$(BIN)/python" scripts/smoke.sh dist/*

venv: .venv/.stamp ## The virtual environment, exactly as locked

.venv/.stamp: requirements.lock pyproject.toml scripts/bootstrap.sh
	scripts/bootstrap.sh

lock: venv ## Write requirements.lock after a change of pyproject.toml; ARGS=--upgrade for newer
	scripts/lock.sh $(ARGS)

clean: ## Remove everything that can be made again
	rm -rf .venv .coverage* .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache \
		build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
