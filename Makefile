# `make` alone lists the targets. Each target works as the first command on a fresh clone: it needs python3 (3.11 or
# newer, with its venv module) and nothing else; packages come from the lock files, checked by their hashes.
#
# PYTHON chooses another python3; each target's other variables are named in its line, and one that it doesn't take is an error.

PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
# pip installs the locked packages and resolves nothing (a resolver looks for the requirements of an extra again and takes the newest
# release); `pip check` then proves the set complete. Each is a wheel, except hdrhistogram on Linux on ARM, which needs a C compiler there.
PIP := $(PY) -m pip --disable-pip-version-check
INSTALL := $(PIP) install --quiet --no-deps --require-hashes
LOCK := uv pip compile -p 3.11 --universal --generate-hashes --no-header --no-annotate --no-strip-extras
# Test files run six at once, since most of them wait for clocks and other processes (four leave a third of two CPUs idle), the longest first
# (tests/file_order.py); with ARGS one after the other, so that -s and -x work.
AT_ONCE := -n 6 --dist loadfile --no-loadscope-reorder
# What make check leaves to make test: tests that open sockets, and those that start servers, stores, benches and examples.
SLOWER_TESTS := tests/http tests/client tests/clients tests/e2e tests/bench tests/chaos tests/faults tests/examples tests/backend/valkey tests/docs/test_pages.py
SOURCES := $(shell find jobqueue -name '*.py' -o -path '*/http/console/*' -type f)
FLEET_SOURCES := $(SOURCES) $(shell find clients -name "*.py")
FREEZE := $(PY) -m PyInstaller --onefile --noconfirm --log-level WARN --distpath $(CURDIR)/tmp --workpath $(CURDIR)/tmp/build \
	--specpath $(CURDIR)/tmp/build --paths . --runtime-hook $(CURDIR)/packaging/pyinstaller_hook.py \
	$(addprefix --exclude-module ,numpy PIL setuptools brotli unittest pydoc)
# Tests start hundreds of Python processes: without bytecode on the disk, each would compile the project again, for a third of a second.
check test test-%: export PYTHONDONTWRITEBYTECODE =
# The compiled form is a copy of the checkout. Children inherit the variables, so no folder that they start in hides it.
COMPILED := tmp/compiled
FROM_COMPILED := PYTHONPATH=$(CURDIR)/$(COMPILED) PYTHONSAFEPATH=1
# Before a bench, which measures both forms: where it can't compile, the pure one alone.
COMPILE := $(PY) packaging/compiled.py $(COMPILED) >/dev/null

# What may be given on the command line: a misspelt variable (CLIENT=50) would be passed over, and the default be used.
TAKES_run-server := ARGS BUILD
TAKES_run-cluster := PORTS STORE TARGET ARGS
TAKES_run-clients := CLIENTS DURATION VIA URL REPORT HTML REQUIRE ARGS
TAKES_locust := RAMP USERS SECONDS HOLD URL PROCESSES VIA WEB
TAKES_overload := RATE RUN WORKERS PATIENCE POLICY SEED OUT ALL
TAKES_overload-live := ARGS
TAKES_sim := SEED SEEDS START
TAKES_graphs := GRAPHS START
TAKES_test := ARGS
TAKES_test-wheels := PYTHONS
TAKES_vendor := ARGS
TAKES_test-memory := ATTACK
TAKES_test-console := PAGE PICTURES HOURS
TAKES_test-api := SECONDS SEED
TAKES_fuzz := SECONDS TARGET
TAKES_destroy := ONLY HOURS
TAKES_mutants := ARGS
TAKES_scaling := ARGS
$(foreach bench,bench $(addprefix bench-,http life in-process guard fleet core memory journal deploys outage valkey),$(eval TAKES_$(bench) := ARGS))
GIVEN := $(strip $(foreach name,$(.VARIABLES),$(if $(findstring command line,$(origin $(name))),$(name))))
TAKEN := $(sort $(foreach goal,$(or $(MAKECMDGOALS),help),$(TAKES_$(goal))))
UNKNOWN := $(filter-out $(TAKEN) PYTHON VENV MAKEFLAGS MAKEOVERRIDES SHELL,$(GIVEN))
$(if $(UNKNOWN),$(error make $(or $(MAKECMDGOALS),help) does not take $(UNKNOWN); it takes $(or $(TAKEN),no variables but PYTHON)))

$(if $(filter-out pure compiled,$(BUILD)),$(error BUILD is pure or compiled))

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.SUFFIXES:

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: run-server
run-server: $(VENV)/.runtime $(if $(filter compiled,$(BUILD)),compiled) ## serve on http://127.0.0.1:8080, with config.yaml and the demo handlers; ARGS="tasks.py --port 9000" BUILD=compiled
	@$(if $(filter compiled,$(BUILD)),$(FROM_COMPILED)) exec $(PY) -m jobqueue serve $(ARGS)

.PHONY: run-cluster
run-cluster: $(VENV)/.dev ## a Valkey and two servers over it, on ports 8080 and 8081, until Ctrl-C; PORTS=9000,9001,9002 STORE=redis://127.0.0.1:6379/5 TARGET=tasks.py ARGS="--set log.level=debug"
	@exec $(PY) -m bench.cluster $(TARGET) $(if $(PORTS),--ports $(PORTS)) $(if $(STORE),--store '$(STORE)') $(ARGS)

.PHONY: run-clients
run-clients: $(VENV)/.runtime ## simulated clients against it, with the key of JOBQUEUE_KEY; CLIENTS=500 DURATION=60 VIA=head|get|wait|events|batch URL= REPORT=file.json HTML=file.html REQUIRE='p95<50ms'
	@exec $(PY) -m clients $(if $(CLIENTS),--clients $(CLIENTS)) $(if $(DURATION),--duration-s $(DURATION)) \
		$(if $(VIA),--via $(VIA)) $(if $(URL),--url $(URL)) $(if $(REPORT),--report $(REPORT)) $(if $(HTML),--html $(HTML)) \
		$(if $(REQUIRE),--require $(foreach bound,$(REQUIRE),'$(bound)')) $(ARGS)

.PHONY: locust
locust: $(VENV)/.dev ## a ramp of up to 15,000 users, plotted in tmp/locust, with the key of JOBQUEUE_KEY; RAMP=known|steps|linear USERS= SECONDS= HOLD= URL= PROCESSES= VIA= WEB=1
	@exec $(PY) -m bench.ramp

.PHONY: overload
overload: $(VENV)/.dev ## the disciplines under overload, simulated; your own service: RATE=40 RUN=0.5 WORKERS=8 PATIENCE=20 POLICY= SEED= OUT= ALL=1
	@exec $(PY) -m bench.overload $(if $(SEED),--seed $(SEED)) $(if $(OUT),--out $(OUT)) $(if $(RATE),--rate $(RATE)) $(if $(RUN),--run $(RUN)) \
		$(if $(WORKERS),--workers $(WORKERS)) $(if $(PATIENCE),--patience $(PATIENCE)) $(if $(POLICY),--policy '$(POLICY)') $(if $(ALL),--all)

.PHONY: overload-live
overload-live: $(VENV)/.dev ## a real server under ten times its capacity, for 30 s: its goodput, and how fast it rejects
	@exec $(PY) -m bench.overload.live $(ARGS)

.PHONY: sim
sim: $(VENV)/.dev ## simulated lives of a queue, with faults, each from a seed; SEEDS=10000 START=0, or SEED=1234 to replay one
	@exec $(PY) -m tests.simulation $(if $(SEED),--seed $(SEED)) $(if $(SEEDS),--seeds $(SEEDS)) $(if $(START),--start $(START))

.PHONY: graphs
graphs: $(VENV)/.dev ## random graphs of jobs beside a naive evaluator; GRAPHS=10000 START=0
	@GRAPHS=$(or $(GRAPHS),10000) START=$(or $(START),0) exec $(PY) -m pytest -q tests/core/test_graphs.py

.PHONY: bench
bench: $(VENV)/.dev ## all benches below, quickly, into bench/RESULTS.md; ARGS=--full runs them in full, ARGS=--render none
	-@$(COMPILE)
	@exec $(PY) -m bench.speed $(ARGS)

.PHONY: bench-http
bench-http: $(VENV)/.dev ## the cost of a request, beside aiohttp, a naive queue and Go (if `go` is there); ARGS=--quick
	-@$(COMPILE)
	@exec $(PY) -m bench.speed.http $(ARGS)

.PHONY: bench-life
bench-life: $(VENV)/.dev ## the cost of a job from its submission to its end, beside a naive queue, Go, and three stacks on Redis; ARGS="--quick --only jobqueue,go"
	-@$(COMPILE)
	@exec $(PY) -m bench.speed.life $(ARGS)

.PHONY: bench-in-process
bench-in-process: $(VENV)/.dev ## submit and await a result in one process: beside aiojobs, taskiq, huey and an asyncio.Queue; ARGS=--quick
	-@$(COMPILE)
	@exec $(PY) -m bench.speed.in_process $(ARGS)

.PHONY: bench-guard
bench-guard: $(VENV)/.dev ## instruction counts, compared with bench/baseline.json; ARGS="--build compiled", ARGS=--update rewrites that file
	-@$(if $(findstring compiled,$(ARGS)),$(COMPILE))
	@exec $(PY) -m bench.guard $(ARGS)

.PHONY: bench-fleet
bench-fleet: $(VENV)/.dev ## 500, 8,000 and 15,000 clients that submit jobs and poll them; ARGS="--quick --build compiled"
	-@$(COMPILE)
	@exec $(PY) -m bench.speed.fleet $(ARGS)

.PHONY: bench-core
bench-core: $(VENV)/.dev ## the cost of operations of the engine and of each Order, with 100 to a million jobs; ARGS="--quick --build compiled"
	-@$(COMPILE)
	@exec $(PY) -m bench.speed.core $(ARGS)

.PHONY: bench-memory
bench-memory: $(VENV)/.dev ## bytes of a status, pauses of the loop, memory of a server with a million of them; ARGS="--quick --build compiled"
	-@$(COMPILE)
	@exec $(PY) -m bench.speed.memory $(ARGS)

.PHONY: bench-deploys
bench-deploys: $(VENV)/.dev ## restarts of a server with a journal under load, behind an inherited socket, behind Caddy (if it is there), and under the fleet: submissions lost, refused, the longest gap; ARGS="--only caddy --restarts 3 --crash"
	@exec $(PY) -m bench.deploys $(ARGS)

.PHONY: bench-outage
bench-outage: $(VENV)/.dev ## one of two servers over a store is killed under load, of the fleet and of locust, at a port each, and behind Caddy (if it is there): what clients see, jobs lost; ARGS="--only caddy --clients 100 --seconds 45"
	@exec $(PY) -m bench.outage $(ARGS)

.PHONY: bench-journal
bench-journal: $(VENV)/.dev ## a job's life with the journal off, `interval` and `always`, beside SQLite and Redis (if `redis-server` is there), and starts with a million jobs in it; ARGS=--quick
	-@$(COMPILE)
	@exec $(PY) -m bench.speed.journal $(ARGS)

.PHONY: bench-valkey
bench-valkey: $(VENV)/.dev ## a job's life over Valkey with one to three servers, beside memory, arq, SAQ and BullMQ on the same store; ARGS=--quick
	@exec $(PY) -m bench.speed.valkey $(ARGS)

.PHONY: scaling
scaling: $(VENV)/.dev ## the model from one server to many stores: tables, and plots in docs/images/scaling; ARGS="--measured tmp/bench/valkey.json"
	@exec $(PY) -m bench.scaling $(ARGS)

.PHONY: check
check: $(VENV)/.dev ## format, lint, types, laws, known vulnerabilities, fast tests
	$(PY) -m ruff format --check .
	$(PY) -m ruff check .
	$(PY) -m mypy
	$(PY) -m mypy packaging/*.py packaging/hooks/*.py
	$(PY) packaging/audit.py --daily
	$(PY) -m pytest -q -m 'not slow' $(AT_ONCE) $(addprefix --ignore ,$(SLOWER_TESTS))

.PHONY: audit
audit: $(VENV)/.dev ## known vulnerabilities of the locked packages, by pip-audit, where the advisories can be reached; `make check` asks once a day
	@exec $(PY) packaging/audit.py

.PHONY: test
test: $(VENV)/.dev ## every test but the slow ones; ARGS="tests/core -x"
	$(PY) -m pytest -q -m 'not slow' $(if $(ARGS),$(ARGS),$(AT_ONCE))

.PHONY: test-fast-path
test-fast-path: $(VENV)/.dev ## generated streams and scripts through the fast path and the stock path: the same bytes, the same state; the table of bad input in every way
	$(PY) -m pytest -q -m slow tests/http/transport/test_fast_path.py tests/http/transport/test_deferred.py tests/http/bad_input

.PHONY: test-journal
test-journal: $(VENV)/.dev ## kill 200 servers with a journal under load, cut the power 1,000 times, start with a million jobs: nothing acknowledged is lost
	$(PY) -m pytest -q -s -m slow tests/chaos --ignore tests/chaos/test_store.py --ignore tests/chaos/test_failover.py

.PHONY: test-valkey
test-valkey: $(VENV)/.dev ## three servers over one store, all of them killed and frozen under load, and a late replica promoted: nothing acknowledged is lost; and long runs of the store's functions beside the engine
	$(PY) -m pytest -q -s -m slow tests/chaos/test_store.py tests/chaos/test_failover.py tests/backend/valkey

.PHONY: test-browser
test-browser: $(VENV)/.dev ## web pages in a real browser: those of other origins, the JavaScript client, the example of a page; needs /usr/bin/chromium
	$(PY) -m pytest -q -s -m slow tests/browser

.PHONY: vendor
vendor: $(VENV)/.dev ## fetch the libraries of the console (htm with Preact, uPlot) and of its tests (axe-core) anew, by the digests of their manifests; ARGS=--check compares what is there; needs npm
	@exec $(PY) packaging/vendor.py $(ARGS)

.PHONY: test-console
test-console: $(VENV)/.dev ## the web console in a real browser: each page and action, and axe-core on each; PAGE=jobs PICTURES=tmp/pictures, PAGE=day HOURS=8 for a day; needs /usr/bin/chromium
	$(if $(PICTURES),mkdir -p $(PICTURES) && PICTURES=$(abspath $(PICTURES))) $(if $(HOURS),HOURS=$(HOURS)) $(PY) -m pytest -q -rs -m slow tests/console/$(if $(PAGE),test_$(PAGE).py)

.PHONY: screenshots
screenshots: $(VENV)/.dev ## the pages of the console on a staged server, in both widths and schemes, into tmp/screenshots; those that the documents show into docs/images/console
	@exec $(PY) -m tests.console.screenshots

.PHONY: js-types
js-types: $(VENV)/.dev ## types of the JavaScript client, from the API description and its JSDoc; needs node and npm
	@exec $(PY) packaging/js_types.py

.PHONY: test-js
test-js: $(VENV)/.dev ## compile the types of the JavaScript client, and compare them with the API; needs node, npm and what `make js-types` installs
	$(PY) -m pytest -q -m slow tests/clients/js

.PHONY: test-go
test-go: $(VENV)/.dev tmp/go/.generator ## generate a Go client from the API description, build the example with it, and run it; needs go and java
	$(PY) -m pytest -q -rs tests/examples/test_go.py

tmp/go/.generator: examples/go/requirements.txt
	$(PYTHON) -m venv tmp/go
	tmp/go/bin/python -m pip --disable-pip-version-check install --quiet --no-deps --require-hashes -r $<
	@touch $@

.PHONY: test-prometheus
test-prometheus: $(VENV)/.dev ## a real Prometheus scrapes a real server in a staged incident, and its alerts fire; needs prometheus
	$(PY) -m pytest -q -s -m slow tests/prometheus

.PHONY: test-memory
test-memory: $(VENV)/.dev ## hostile clients against a server with 256 MB, a row for each attack, and a million jobs through the engine; ATTACK="uploads_stalled many_faults"
	@ATTACK="$(ATTACK)" $(PY) -m pytest -q -s -m slow tests/memory tests/simulation/test_status_memory.py

.PHONY: test-api
test-api: $(VENV)/.dev ## schemathesis against a running server, with all checks; SECONDS=600 SEED=1
	@$(if $(SECONDS),API_SECONDS="$(SECONDS)") $(if $(SEED),API_SEED="$(SEED)") $(PY) -m pytest -q -s -m slow --timeout 0 tests/http/openapi/test_schemathesis.py

.PHONY: faults
faults: $(VENV)/.dev ## faults injected into real servers: signals, kills, slow clients, full disks; writes their table into docs/LIMITS.md
	@exec $(PY) -m tests.faults

.PHONY: destroy
destroy: $(VENV)/.dev ## a server with 256 MB and half a CPU under loads that ought to break it, 25 minutes; writes docs/LIMITS.md; ONLY="storm bomb", or HOURS=8 for a soak
	@exec $(PY) -m bench.destructive $(if $(ONLY),--only '$(ONLY)',$(if $(HOURS),--only soak --hours $(HOURS),--render docs/LIMITS.md))

.PHONY: destroy-quick
destroy-quick: $(VENV)/.dev ## the same but for the hostile clients, each scenario at a part of its size, under 3 minutes
	@exec $(PY) -m bench.destructive --quick

.PHONY: fuzz
fuzz: $(VENV)/.dev ## inputs made from tests/fuzz/corpus for the parsers of JSON, ids, forms and settings, a minute each; SECONDS=600 TARGET=json
	@exec $(PY) -m tests.fuzz $(if $(SECONDS),--seconds $(SECONDS)) $(if $(TARGET),--target $(TARGET))

.PHONY: coverage
coverage: $(VENV)/.dev ## branch coverage of core/ by its own tests; fails under 95 %
	$(PY) -m pytest -q tests/core --cov=jobqueue.core --cov-branch --cov-report=term-missing --cov-fail-under=95

.PHONY: mutants
mutants: $(VENV)/.dev ## mutation tests of core/, about 6,000 mutants; hours, or ARGS="*3 *8" for a fifth of them
	$(PY) -m mutmut run $(patsubst %,'%',$(ARGS))
	$(PY) -m mutmut results

.PHONY: compiled
compiled: $(VENV)/.dev ## make tmp/compiled, a copy of the checkout with modules compiled by mypyc; needs a C compiler
	@JOBQUEUE_BUILD=compiled $(PY) packaging/compiled.py $(COMPILED) >/dev/null

.PHONY: test-compiled
test-compiled: compiled ## tests of core/, the backend, runtime/ and http/, and 200 simulated lives, on the compiled form
	cd $(COMPILED) && $(PY) -m pytest -q -m slow tests/packaging/test_compiled_form.py
	cd $(COMPILED) && $(PY) -m pytest -q -m 'not slow' $(AT_ONCE) tests/core tests/backend tests/contract tests/runtime tests/http
	cd $(COMPILED) && $(PY) -m tests.simulation --seeds 200

.PHONY: test-wheels
test-wheels: $(VENV)/.dev ## a pure and a compiled wheel, installed on each Python, serve a job; PYTHONS="python3.12 python3.13"
	PYTHONS="$(PYTHONS)" $(PY) -m pytest -q -s -m slow tests/packaging/test_wheels.py

.PHONY: build
build: tmp/jobqueue tmp/jobqueue-clients ## make tmp/jobqueue (compiled, if there is a C compiler) and tmp/jobqueue-clients, which need no Python

tmp/jobqueue: $(SOURCES) pyproject.toml $(wildcard packaging/*.py packaging/*/*.py) $(VENV)/.dev | binutils
	root=$$($(PY) packaging/compiled.py $(COMPILED)) && cd "$$root" && \
		$(FREEZE) --additional-hooks-dir packaging/hooks --name jobqueue --collect-submodules jobqueue jobqueue/__main__.py

tmp/jobqueue-clients: $(FLEET_SOURCES) $(VENV)/.dev | binutils
	$(FREEZE) --name jobqueue-clients --collect-submodules clients clients/__main__.py

.PHONY: test-build
test-build: build ## build, then test what was built
	$(PY) -m pytest -q -m slow tests/e2e/test_frozen.py

.PHONY: binutils
binutils:
	@command -v objdump >/dev/null || { echo "make build needs objdump: install binutils (Debian: apt-get install binutils)" >&2; exit 1; }

.PHONY: lock
lock: ## rewrite the lock files from pyproject.toml; needs uv
	@command -v uv >/dev/null || { echo "make lock needs uv: https://docs.astral.sh/uv/" >&2; exit 1; }
	$(LOCK) --extra server --extra cli --extra fleet --extra reload pyproject.toml -o requirements.lock
	$(LOCK) --extra valkey -c requirements.lock pyproject.toml -o requirements-valkey.lock
	$(LOCK) --group audit -o requirements-audit.lock
	$(LOCK) --all-extras --group dev -c requirements.lock -c requirements-valkey.lock pyproject.toml -o requirements-dev.lock

.PHONY: clean
clean: ## remove all that these targets made, the virtual environment included
	rm -rf $(VENV) tmp mutants .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage htmlcov
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The virtual environment: a stamp for what running needs, another for what developing needs, which is more of the same.

$(VENV)/.runtime: requirements.lock | $(PY)
	$(INSTALL) -r requirements.lock
	@$(PIP) check
	@touch $@

$(VENV)/.dev: requirements-dev.lock requirements.lock | $(PY)
	$(INSTALL) -r requirements-dev.lock
	@$(PIP) check
	@touch $@ $(VENV)/.runtime

$(PY):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "make needs python3, 3.11 or newer: install it, or name it: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
		{ echo "make needs python3's venv module: install it (Debian: apt-get install python3-venv)" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
