# make run     the daemon, in the foreground: blobs in ./data, port 7777 (ARGS= for other options)
# make check   the inner loop, under a minute: ruff, mypy, and the tests that start no daemon
# make test    every test there is, PROCESSES (3) at a time, under coverage (ARGS= for pytest)
# make soak    the long tests, one after another, each to its end or limit: soak-e2e (ARGS= for pytest),
#              soak-bucket, soak-rooms, soak-faults, soak-simulation (MINUTES=30 of trials, then the
#              mutants), powercut
# make powercut  real power cuts, on ext4 and XFS in a user-mode Linux (CUTS=20 each)
# make lint    ruff and mypy
# make format  let ruff write the source as it should be
# make fuzz    each fuzz target for TIME seconds (60); what is found is in .fuzz/
# make bench   gostore beside what it was and its peers, in 45 minutes (ARGS=--quick: in three minutes)
# make lock    write requirements/*.txt anew, with the newest versions
# make clean   remove whatever the others made; ./data stays

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Modules, not scripts: a script names its interpreter in a line that not every path fits in.
PIP := $(BIN)/python -m pip
COVERAGE := $(BIN)/python -m coverage
ARGS ?=
BRANCHES := 93
# More than two cores, since many tests wait for a daemon.
PROCESSES ?= 3
# A command that is given the command that runs the tests: .ci/run has failed ones run once more.
RERUN ?=
TIME ?= 60
ROOMS := $(addprefix tests/,access client commands daemon store volume web wire)
CUTS ?= 20
MINUTES ?= 30
FUZZ := .venv-fuzz

# The daemons that tests start run this source, not an installed copy of it.
export PYTHONPATH := $(CURDIR)
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Some hundred times: a daemon starts sooner if what it imports is compiled already.
unexport PYTHONDONTWRITEBYTECODE

SOURCES := setup.py pyproject.toml README.md $(wildcard tap.conf examples/*) $(shell find gostore twisted -type f ! -name '*.pyc' ! -name dropin.cache)

.PHONY: run bench check test soak soak-e2e soak-bucket soak-rooms soak-faults soak-simulation powercut lint format fuzz lock clean

# Isolated (-I): what is installed, not the source in this directory.
run: $(VENV)/.installed
	@exec $(BIN)/python -I -c 'from twisted.scripts.twistd import run; run()' \
		--nodaemon --pidfile= gostore $(ARGS)

check: lint
	$(BIN)/python -m pytest --numprocesses 2 --dist worksteal -m "not long" --ignore tests/e2e $(ARGS)

test: $(VENV)/.test
	$(COVERAGE) erase
	$(RERUN) $(COVERAGE) run -m pytest --numprocesses $(PROCESSES) --dist worksteal $(ARGS)
	$(COVERAGE) combine --quiet
	$(COVERAGE) report
	@$(COVERAGE) json --quiet -o .coverage.json
	@$(BIN)/python .ci/branches.py .coverage.json $(BRANCHES)

# One that fails does not keep the others from being run.
soak:
	@$(MAKE) --keep-going soak-e2e soak-bucket soak-rooms soak-faults soak-simulation powercut ARGS=

# Two hours are the limit of what is long, ten minutes of what hangs.
soak-e2e: $(VENV)/.test
	GOSTORE_SOAK=1 timeout 7200 $(BIN)/python -X faulthandler -m pytest -s -o faulthandler_timeout=600 $(or $(ARGS),tests/e2e --ignore-glob "tests/e2e/test_bucket*")

soak-bucket: $(VENV)/.test
	GOSTORE_SOAK=1 timeout 7200 $(BIN)/python -m pytest -s tests/bucket tests/e2e/test_bucket*.py
	timeout 14400 $(BIN)/python -m tests.bucket --seeds 20000

soak-rooms: $(VENV)/.soak
	GOSTORE_SOAK=1 timeout 3600 $(BIN)/python -m pytest $(ROOMS)

soak-faults: $(VENV)/.test
	timeout 7200 $(BIN)/python -m tests.faults

soak-simulation: $(VENV)/.test
	timeout $$(( $(MINUTES) * 60 + 3600 )) $(BIN)/python -m tests.simulation --minutes $(MINUTES)

powercut: $(VENV)/.test
	@.ci/have linux.uml user-mode-linux
	@.ci/have mkfs.xfs xfsprogs
	@.ci/have cc gcc
	timeout 3600 $(BIN)/python -m tests.powercut --cuts $(CUTS) $(ARGS)

lint: $(VENV)/.lint
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m mypy

format: $(VENV)/.lint
	$(BIN)/python -m ruff check --fix .
	$(BIN)/python -m ruff format .

# A corpus that grows in .fuzz/; the one that is kept is read, and not written.
fuzz: $(FUZZ)/.fuzz
	@for target in wire fields statefile recovery journal; do \
		mkdir -p .fuzz/$$target; \
		echo "Fuzzing $$target for $(TIME) seconds"; \
		$(FUZZ)/bin/python -m fuzz $$target -max_total_time=$(TIME) -max_len=4096 -print_final_stats=1 \
			-artifact_prefix=.fuzz/$$target- .fuzz/$$target || exit 1; \
	done

bench: $(VENV)/.bench
	$(BIN)/python -m benchmarks $(ARGS)

lock: $(VENV)/.venv
	$(PIP) install --quiet uv
	$(BIN)/python -m uv pip compile --quiet --universal --upgrade --python-version 3.10 --custom-compile-command "make lock" \
		--extra cli --extra test --extra lint --output-file requirements/test.txt setup.py
	$(BIN)/python -m uv pip compile --quiet --universal --upgrade --python-version 3.10 --custom-compile-command "make lock" \
		--extra cli --extra client --extra s3 --extra tls --extra users --constraint requirements/test.txt --output-file requirements/run.txt setup.py
	$(BIN)/python -m uv pip compile --quiet --universal --upgrade --python-version 3.10 --custom-compile-command "make lock" \
		--generate-hashes --no-annotate --extra tls --extra users --constraint requirements/run.txt --output-file requirements/image.txt setup.py
	$(BIN)/python -m uv pip compile --quiet --universal --upgrade --python-version 3.10 --custom-compile-command "make lock" \
		--extra bench --constraint requirements/test.txt --output-file requirements/bench.txt setup.py
	$(BIN)/python -m uv pip compile --quiet --universal --upgrade --python-version 3.10 --custom-compile-command "make lock" \
		--extra soak --constraint requirements/test.txt --output-file requirements/soak.txt setup.py
	$(BIN)/python -m uv pip compile --quiet --universal --upgrade --python-version 3.10 --custom-compile-command "make lock" \
		--constraint requirements/test.txt --extra fuzz --output-file requirements/fuzz.txt setup.py

clean:
	rm -rf $(VENV) $(FUZZ) .bench .fuzz build dist *.egg-info .coverage .coverage.* .hypothesis .mypy_cache .pytest_cache \
		.ruff_cache .flaky _trial_temp* tests.*/ twistd.log* twistd.pid
	find . -name __pycache__ -prune -exec rm -rf {} +
	find twisted -name dropin.cache -delete

# An ordinary installation, not an editable one, which would hide the plugin from twistd.
$(VENV)/.installed: $(VENV)/.run $(SOURCES)
	@echo "Installing gostore in $(VENV)"
	@$(PIP) install --quiet --no-deps --force-reinstall .
	@rm -rf build gostore.egg-info
	@touch $@

$(VENV)/.run: $(VENV)/.venv requirements/run.txt
	@echo "Installing what gostore needs in $(VENV)"
	@$(PIP) install --quiet --requirement requirements/run.txt
	@touch $@

# What needs no program beside Python.
$(VENV)/.lint: $(VENV)/.venv requirements/test.txt
	@echo "Installing what the linters and tests need in $(VENV)"
	@$(PIP) install --quiet --requirement requirements/test.txt
	@touch $@

$(VENV)/.test: $(VENV)/.lint $(VENV)/node/.installed
	@echo "Looking for the programs that the tests need"
	@.ci/have curl
	@.ci/have wget
	@.ci/have aria2c aria2
	@.ci/have rclone
	@.ci/have nginx nginx-light
	@.ci/have squid
	@.ci/have strace
	@.ci/have cc gcc
	@.ci/have ip iproute2
	@.ci/have bindfs
	@.ci/have logrotate
	@.ci/have caddy
	@.ci/have haproxy
	@.ci/have promtool prometheus
	@.ci/have fail2ban-regex fail2ban
	@.ci/have groff
	@.ci/have wrk
	@# Not every distribution has these by that name. Without them tests are skipped, and say so.
	-@.ci/have chromium
	-@.ci/have systemd-analyze systemd
	@touch $@

$(VENV)/node/.installed: $(VENV)/.venv tests/e2e/node/package-lock.json
	@.ci/node tests/e2e/node $(VENV)/node

$(VENV)/.soak: $(VENV)/.test requirements/soak.txt
	@echo "Installing what only soaks need in $(VENV)"
	@$(PIP) install --quiet --requirement requirements/soak.txt
	@touch $@

$(VENV)/.bench: $(VENV)/.venv requirements/bench.txt
	@echo "Installing what the benchmarks need in $(VENV)"
	@.ci/have curl
	@.ci/have wrk
	@.ci/have nginx nginx-light
	@.ci/have strace
	@$(PIP) install --quiet --requirement requirements/bench.txt
	@touch $@

$(VENV)/.venv:
	@.ci/venv "$(PYTHON)" "$(VENV)"
	@touch $@

# Of its own: atheris is not to be had for every Python that gostore runs on.
$(FUZZ)/.fuzz: requirements/fuzz.txt
	@.ci/venv "$(PYTHON)" "$(FUZZ)"
	@$(FUZZ)/bin/python -m pip install --quiet --requirement requirements/fuzz.txt
	@touch $@
