# The two commands of the README, and what CI calls beside them. Each does its own set-up.

BIN := .venv/bin

# The tests start a thousand Pythons. Without bytecode on disk each one compiles this project again.
unexport PYTHONDONTWRITEBYTECODE

# With CI set, pytest compares the whole of two long values that differ, for hours. Its first lines say enough.
unexport CI BUILD_NUMBER

.PHONY: demo test check lint types layers docs lowest bench setup

demo: setup ## a process task, and an image built from git and pushed to a registry
	@$(BIN)/python script/demo.py

test: setup ## everything, against real Docker, git, registries and AWS's stand-in
	$(BIN)/pytest -n 2

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

lowest: setup ## a part of the tests with the lowest versions that pyproject.toml permits
	$(BIN)/python script/lowest.py

bench: setup ## ratios against the bare tools, measured in one run
	$(BIN)/python bench/run.py

setup:
	@script/setup
