# make demo      install, train on digits, evaluate
# make test      all tests but the campaigns, in parallel; under five minutes on two cores
# make test-all  all tests, in parallel, with the coverage of src/
# make cluster   add Ray and Spark to the environment; the tests of both skip without them
# make mlflow-server  install MLflow's server for the tests of tracking, in an environment of its own
# make lint      style, docstrings, types, import rules        make format  apply the style
# make clean     remove the environment and caches
# make sanitize  test the native library under AddressSanitizer and UndefinedBehaviorSanitizer
# make tsan      under ThreadSanitizer, on the library's own threads: detects data races
# make valgrind  under valgrind: detects reads of uninitialised memory
# make test-neon on an emulated AArch64; SANITIZE=ON adds the sanitizers (six times slower)
# make fuzz      mutated files for every reader, a minute each; SECONDS=600 TARGETS="ts csv" FUZZ_SEED=1 choose
# make crash     kill runs and fail their disk at every write operation; results must not change (half an hour)
# make bench     time recurrent layers beside torch, Keras, JAX and ONNX Runtime; writes benchmarks/RESULTS.md;
#                BENCH="--threads 1 rows" passes options and workloads on
# make page      check and bundle the page of `scanline serve`, with Node
# A second call installs nothing: the stamps in .venv are newer than everything they depend on.

PYTHON ?= python3
VENV   ?= .venv
BIN     = $(VENV)/bin
SANITIZE = OFF
SOURCES = pyproject.toml constraints.txt $(wildcard csrc/* csrc/*/*)

.PHONY: demo test test-all cluster mlflow-server lint format clean bench page crash fuzz sanitize test-neon tsan valgrind
.DELETE_ON_ERROR:

demo: $(VENV)/.core
	@rm -rf runs/demo
	$(BIN)/scanline train --run runs/demo
	$(BIN)/scanline evaluate runs/demo

# Two workers on two cores; each waits passively, so that the threads of one do not hold up the other. One that has
# nothing left takes over tests of the other: the longest files would otherwise keep one core busy at the end.
# Programs that tests start need the compiled modules, whatever the environment says.
PARALLEL = PYTHONDONTWRITEBYTECODE= OMP_WAIT_POLICY=passive $(BIN)/python -m pytest --numprocesses auto --dist worksteal

test: $(VENV)/.dev
	$(PARALLEL) -m "not campaign"

test-all: $(VENV)/.dev
	$(PARALLEL) --cov --cov-report term:skip-covered

lint: $(VENV)/.dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.dev
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

# The page of `scanline serve`: checks page/src and bundles it into src/scanline/serving/page.
page: page/node_modules/.installed
	cd page && npm run --silent build

page/node_modules/.installed: page/package.json page/package-lock.json
	$(call needs,node npm,nodejs npm)
	cd page && npm ci --silent
	@touch $@

bench: .venv-bench/.installed
	.venv-bench/bin/scanline bench --markdown benchmarks/RESULTS.md $(BENCH)

# $(call needs,programs,Debian packages): says what is missing in one line.
needs = @for program in $(1); do command -v $$program > /dev/null \
  || { echo "make $@ needs $$program; on Debian: apt-get install $(2)"; exit 1; }; done

# -O1 compiles quickly and keeps stack traces readable.
CHECKED = -DCMAKE_BUILD_TYPE=Debug -DCMAKE_CXX_COMPILER=g++ -DCMAKE_CXX_FLAGS="-O1 $(1)"
CMAKE   = cmake --log-level=NOTICE -S csrc -B build/$@
PYTEST  = $(BIN)/python -m pytest
# Sanitizers write to the process's standard error and then abort; pytest must not capture that.
SHOWING = --capture=sys

# detect_leaks=0: Python and torch keep memory until they exit. AddressSanitizer must be loaded before anything is
# allocated; libstdc++ too, because AddressSanitizer intercepts its exceptions. abort_on_error: an abort makes pytest
# name the test.
sanitize: $(VENV)/.dev
	$(call needs,cmake g++,cmake g++)
	$(CMAKE) $(call CHECKED,) -DSCANLINE_SANITIZE=ON -DSCANLINE_TESTS=ON
	cmake --build build/$@ --parallel --target scanline scanline-predictions headers
	UBSAN_OPTIONS=print_stacktrace=1 build/$@/scanline-predictions
	LD_PRELOAD="$$(g++ -print-file-name=libasan.so) $$(g++ -print-file-name=libstdc++.so)" \
	  ASAN_OPTIONS=detect_leaks=0:abort_on_error=1 UBSAN_OPTIONS=print_stacktrace=1:abort_on_error=1 \
	  SCANLINE_LIBRARY="$(CURDIR)/build/$@/libscanline.so" \
	  $(PYTEST) $(SHOWING) tests/kernels tests/nn/test_modules.py

# In the three targets below Python runs as usual and the library in another process (csrc/tests/remote.cpp), on its
# own threads. Predictors and the update of the weights have a program without Python, csrc/tests/predictions.cpp; its
# argument n makes it compute each n-th network.
test-neon: $(VENV)/.dev
	$(call needs,cmake aarch64-linux-gnu-g++ qemu-aarch64,cmake g++-aarch64-linux-gnu qemu-user)
	$(CMAKE) -DSCANLINE_TESTS=ON -DCMAKE_SYSTEM_NAME=Linux -DCMAKE_SYSTEM_PROCESSOR=aarch64 \
	  -DCMAKE_CXX_COMPILER=aarch64-linux-gnu-g++ -DSCANLINE_SANITIZE=$(SANITIZE)
	cmake --build build/$@ --parallel --target scanline-remote scanline-predictions
	ASAN_OPTIONS=detect_leaks=0 qemu-aarch64 -L /usr/aarch64-linux-gnu build/$@/scanline-predictions 29
	SCANLINE_TEST_REMOTE="qemu-aarch64 -L /usr/aarch64-linux-gnu build/$@/scanline-remote" \
	  ASAN_OPTIONS=detect_leaks=0 $(PYTEST) tests/kernels/test_cells.py tests/kernels/test_activations.py

# -DSCANLINE_SANITIZE makes the library allocate every block from the system, so that valgrind knows its bounds.
# valgrind emulates the kernels "portable" and, if the processor has AVX2, "avx2". Random shapes are smaller because
# everything is fifty times slower.
VALGRIND = valgrind --quiet --error-exitcode=9 --exit-on-first-error=yes --track-origins=yes

valgrind: $(VENV)/.dev
	$(call needs,cmake g++ valgrind,cmake g++ valgrind)
	$(CMAKE) $(call CHECKED,-DSCANLINE_SANITIZE) -DSCANLINE_TESTS=ON
	cmake --build build/$@ --parallel --target scanline-remote scanline-predictions
	$(VALGRIND) build/$@/scanline-predictions 53
	SCANLINE_TEST_REMOTE="$(VALGRIND) build/$@/scanline-remote" SCANLINE_TEST_EXAMPLES=10 SCANLINE_TEST_PRODUCTS=2e5 \
	  $(PYTEST) tests/kernels/test_cells.py

# libgomp has no ThreadSanitizer instrumentation, so the library uses its own threads. If the program stops with
# "unexpected memory mapping" (GCC 12 on kernels with vm.mmap_rnd_bits > 28), run make under `setarch -R`.
tsan: $(VENV)/.dev
	$(call needs,cmake g++,cmake g++)
	$(CMAKE) $(call CHECKED,) -DSCANLINE_TSAN=ON -DSCANLINE_TESTS=ON
	cmake --build build/$@ --parallel --target scanline-remote scanline-concurrent scanline-predictions
	TSAN_OPTIONS=halt_on_error=1 build/$@/scanline-concurrent
	TSAN_OPTIONS=halt_on_error=1 build/$@/scanline-predictions 29
	TSAN_OPTIONS=halt_on_error=1 SCANLINE_TEST_REMOTE=build/$@/scanline-remote \
	  SCANLINE_TEST_EXAMPLES=10 SCANLINE_TEST_PRODUCTS=5e5 \
	  $(PYTEST) $(SHOWING) tests/kernels/test_cells.py tests/kernels/test_activations.py

# Runs that are killed or whose disk fails at every operation, on every path that computes; half an hour.
crash: $(VENV)/.dev
	$(call needs,cc,gcc)
	$(BIN)/python -m tests.crash.campaign

# Atheris tells which changes reach new lines; where it cannot be installed, as on macOS, they are made blindly.
fuzz: $(VENV)/.fuzz
	$(BIN)/python -m fuzz --seconds $(SECONDS) $(if $(FUZZ_SEED),--seed $(FUZZ_SEED)) $(TARGETS)

SECONDS ?= 60

$(VENV)/.fuzz: $(VENV)/.dev
	-$(BIN)/python -m pip install --quiet atheris==3.0.0
	@touch $@

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	rm -rf .venv-bench .venv-mlflow build/sanitize build/test-neon build/tsan build/valgrind

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Scanline needs Python 3.11 or newer; name one: make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.core: $(SOURCES) | $(BIN)/python
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	@touch $@

$(VENV)/.dev: $(SOURCES) | $(BIN)/python
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@ $(VENV)/.core

cluster: $(VENV)/.cluster

# By name, not as extras of Scanline, which would be installed once more: CI checks it at the same time.
$(VENV)/.cluster: $(VENV)/.dev
	$(BIN)/python -m pip install --quiet --constraint constraints.txt ray pyspark
	@touch $@

# The client of the tests is mlflow-skinny; the server needs other versions of their packages, and is started as a program.
mlflow-server: .venv-mlflow/.installed

.venv-mlflow/.installed: constraints.txt
	$(PYTHON) -m venv .venv-mlflow
	.venv-mlflow/bin/python -m pip install --quiet "mlflow==$$(sed -n 's/^mlflow-skinny==//p' constraints.txt)"
	@touch $@

# The other frameworks have an environment of their own, so that none of them reaches the tests.
.venv-bench/.installed: pyproject.toml benchmarks/constraints.txt $(wildcard csrc/* csrc/*/*)
	$(PYTHON) -m venv .venv-bench
	.venv-bench/bin/python -m pip install --quiet --constraint benchmarks/constraints.txt --editable '.[bench]'
	@touch $@
