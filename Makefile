# `make smoke` on a fresh clone is all that a first look needs.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed

.PHONY: smoke test test-faults test-cluster test-gpu lint format bench bench-scale soak calibrate clean

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "aerosweep needs Python 3.11 or newer; got " + sys.version.split()[0] + ". Run make PYTHON=python3.11")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	@echo "installing torch, Ray, MLflow and friends into .venv: about 6.6 GB, some minutes"
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

install: $(INSTALLED)

# A real search on made data: two models x five losses and a few more, some stopped early; confirmed, and reported.
smoke: $(INSTALLED)
	$(BIN)/aerosweep search examples/smoke.yaml --output runs --set name=smoke-$$(date +%Y%m%d-%H%M%S)

# First what needs no Ray, then what starts clusters, servers and browsers of its own: a file at a time on each of two
# cores, because such tests wait more than they compute.
test: $(INSTALLED)
	$(BIN)/python -m pytest --numprocesses auto tests/unit tests/reference tests/property
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile -m "not faults" tests/integration tests/browser

# Processes killed and disks filled, again and again: every row of docs/faults.md that `make test` leaves out.
test-faults: $(INSTALLED)
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile -m faults tests/integration

# Three hosts and a fourth, made of namespaces: `ray up`, a search from outside, a host unplugged. As root; it takes
# openssh-server, rsync, iproute2 and postgresql of Debian, and is skipped with the reason where there can be no hosts.
test-cluster: $(INSTALLED)
	$(BIN)/python -m pytest -m cluster tests/cluster

# On a machine with a GPU that torch can use: losses, trials, memory, a search whose trials share it. Nothing is skipped.
test-gpu: $(INSTALLED)
	AEROSWEEP_REQUIRE_GPU=1 $(BIN)/python -m pytest -m gpu tests/gpu

lint: $(INSTALLED)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(INSTALLED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# One module a row of docs/performance.md; each measures ours and its peer in one run (half an hour on two cores).
BENCHMARKS := losses loss_step confusion training_input copy_paste mask_statistics training_epoch evaluation turnover \
	orchestration search_wall_clock dead_tracker report

bench: $(INSTALLED)
	mkdir -p benchmarks/results
	for module in $(BENCHMARKS); do $(BIN)/python -m benchmarks.$$module --json benchmarks/results/$$module.json || exit 1; done

# What grows with the number of trials: 100, 1,000 and 5,000 of them, each resumed (half an hour on two cores).
bench-scale: $(INSTALLED)
	mkdir -p benchmarks/results
	$(BIN)/python -m benchmarks.scale --json benchmarks/results/scale.json

# Hundreds of short trials while their processes, the driver and the tracker are killed; then everything is compared.
soak: $(INSTALLED)
	$(BIN)/python tests/soak.py

# How often a confirmation is wrong: by simulation, and with networks really trained (half an hour on two cores).
calibrate: $(INSTALLED)
	mkdir -p benchmarks/results
	for module in claims_calibration confirm_calibration; do $(BIN)/python -m benchmarks.$$module --json benchmarks/results/$$module.json || exit 1; done

clean:
	rm -rf .venv build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
