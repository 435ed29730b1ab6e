# Every target sets up .venv by itself. `make` alone lists them.
.DEFAULT_GOAL := help
.PHONY: help demo server-demo test test-clouds test-integrations soak lint format bench bench-docs bench-peers lock clean

PYTEST_ARGS ?=
BENCH_ARGS ?=
SOAK_ARGS ?=

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 14

demo: ## version, clean, train, promote, trace and pull back a real data set (examples/digits.py)
	@tools/environment demo
	@.venv/bin/python examples/digits.py

server-demo: ## the same through two replicas of a server, over PostgreSQL and S3
	@tools/packages test
	@tools/environment dev
	@PYTHONPATH=tests .venv/bin/python -m serverdemo

test: ## run every test, in parallel, with coverage
	@tools/packages test
	@tools/environment dev
	.venv/bin/pytest -n logical --cov --cov-report=term $(PYTEST_ARGS)

test-clouds: ## references to Google Cloud Storage and Azure, against servers for them (needs npm)
	@tools/packages clouds
	@tools/environment dev
	@tools/clouds
	.venv-clouds/bin/python -m pytest -p no:cacheprovider tests/clouds $(PYTEST_ARGS)

test-integrations: ## real fits with torch, Lightning, Keras, transformers and others, and what is read back
	@tools/packages integrations
	@tools/environment dev
	@tools/integrations
	.venv-integrations/bin/python -m pytest -p no:cacheprovider tests/integrations $(PYTEST_ARGS)

soak: ## the proofs for long: fuzzing, crashes, power failures (SOAK_ARGS="model --minutes 60")
	@tools/packages test
	@tools/environment dev
	@nice -n 19 env PYTHONPATH=tests .venv/bin/python -m proof $(SOAK_ARGS)

lint: ## ruff, mypy --strict, and the layers
	@tools/environment dev
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports --no-logo

format: ## let ruff format and sort
	@tools/environment dev
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .

bench: ## measure speed and memory beside this machine's own floors (BENCH_ARGS="--help")
	@tools/environment dev
	@.venv/bin/python -m benchmarks $(BENCH_ARGS)

bench-docs: ## the same, written to docs/benchmarks.md
	@tools/environment dev
	@.venv/bin/python -m benchmarks --docs docs/benchmarks.md $(BENCH_ARGS)

bench-peers: ## the same data with other tools, each in its own environment, written there too (40 minutes)
	@tools/environment dev
	@.venv/bin/python -m benchmarks --peers --docs docs/benchmarks.md $(BENCH_ARGS)

lock: ## compile the lock files anew (tools/lock --upgrade moves the pins)
	@tools/lock

clean: ## remove all that the other targets made
	rm -rf .venv .venv-lock .venv-clouds .venv-integrations .demo .bench build dist htmlcov .coverage .coverage.* coverage.xml
	rm -rf .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache .services
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
