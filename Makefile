# `make run` and `make test` do all of their own set-up. `make help` lists the rest.
.DEFAULT_GOAL := help
.PHONY: help run build kernels examples test rooms lint bench smoke chaos doctor clean

CARGO ?= cargo
# `make test` and `make lint` use the `dev` profile, everything else `release`: CONTRIBUTING.md says why.
RELEASE := --release
export COFFERDAM_KERNELS ?= $(CURDIR)/target/kernels
export COFFERDAM_CACHE_DIR ?= $(CURDIR)/target/cache
# Incremental builds help a second build only; CI has none.
ifdef CI
export CARGO_INCREMENTAL ?= 0
endif

help:
	@echo 'make run       build what is missing, then serve on 127.0.0.1:8080'
	@echo 'make test      everything that can be tested on this machine'
	@echo 'make chaos     ten minutes of everything at once against the release program, every answer judged'
	@echo 'make smoke     the attacks and scenarios against the release program'
	@echo 'make lint      rooms, fmt, clippy, licences and advisories of dependencies'
	@echo 'make bench     smoke the release program, measure against the peers; writes docs/benchmarks.md'
	@echo 'make build     the program: target/release/cofferdam'
	@echo 'make kernels   the interpreters: target/kernels'
	@echo 'make examples  the example tools: target/examples'
	@echo 'make doctor    what this machine is missing'
	@echo 'make clean     removes the build'

build:
	@scripts/toolchain
	$(CARGO) build $(RELEASE) --bins

kernels:
	@scripts/toolchain
	@python3 scripts/kernels.py

examples: build
	@python3 scripts/examples.py

run: build kernels
	@target/release/cofferdam serve --data-dir target/data

# The interpreters are fetched and compiled beside the build.
test: rooms
	@scripts/toolchain
	$(CARGO) fmt --all --check
	@trap 'kill $$! 2>/dev/null || true' EXIT; python3 scripts/kernels.py & \
	  $(CARGO) build --workspace --bins --tests && wait $$!
	@echo 'print("kernels: ready")' | target/debug/cofferdam run - --lang python
	@scripts/with-services $(CARGO) test --workspace --no-fail-fast

rooms:
	@scripts/rooms

lint: rooms
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	@CARGO=$(CARGO) scripts/deny

# The suites of `make test`, in part, against the program that ships.
smoke: build kernels
	@COFFERDAM_TEST_PROGRAM=$(CURDIR)/target/release/cofferdam scripts/with-services $(CARGO) test --test scenarios --test attack

# The short form is in `make test`. COFFERDAM_CHAOS_SECONDS and COFFERDAM_CHAOS_SEED change time and order.
chaos: export COFFERDAM_CHAOS_SECONDS ?= 600
chaos: build kernels
	@COFFERDAM_TEST_PROGRAM=$(CURDIR)/target/release/cofferdam $(CARGO) test --test service -- --nocapture chaos

bench: smoke examples
	$(CARGO) bench --bench service

doctor: build kernels
	@target/release/cofferdam doctor --data-dir target/data

clean:
	$(CARGO) clean
