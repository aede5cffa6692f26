# The two commands of the README, and what CI calls beside them. Each does its own set-up.

BIN := .venv/bin

.PHONY: demo test check lint types layers docs bench setup

demo: setup ## a process task, and an image built from git and pushed to a registry
	@$(BIN)/python script/demo.py

test: setup ## everything, against real Docker, git, registries and AWS's stand-in
	$(BIN)/pytest

check: lint types layers docs

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup
	$(BIN)/mypy

layers: setup
	$(BIN)/lint-imports

docs: setup
	$(BIN)/sphinx-build -q -W -E -b html docs docs/_build

bench: setup ## ratios against the bare tools, measured in one run
	$(BIN)/python bench/run.py

setup:
	@script/setup
