# `make run` and `make test` do all of their own set-up. `make help` lists the rest.
.DEFAULT_GOAL := help
.PHONY: help run build kernels examples test rooms lint bench doctor clean

CARGO ?= cargo
# One profile for everything, so that the heavy crates are built once.
PROFILE := --release
export COFFERDAM_KERNELS ?= $(CURDIR)/target/kernels
export COFFERDAM_CACHE_DIR ?= $(CURDIR)/target/cache

help:
	@echo 'make run     build what is missing, then serve on 127.0.0.1:8080'
	@echo 'make test    everything that can be tested on this machine'
	@echo 'make lint    rooms, fmt, clippy, licences and advisories of dependencies'
	@echo 'make bench   measure against the peers; writes docs/benchmarks.md'
	@echo 'make build   the binary: target/release/cofferdam'
	@echo 'make kernels the interpreters: target/kernels'
	@echo 'make examples  the example tools: target/examples'

build:
	@scripts/toolchain
	$(CARGO) build $(PROFILE) --workspace --bins

kernels:
	@scripts/toolchain
	@python3 scripts/kernels.py

examples: build
	@python3 scripts/examples.py

run: build kernels
	@target/release/cofferdam serve --data-dir target/data

# The interpreters are made beside the build: both have long stretches on one processor.
test: rooms
	@scripts/toolchain
	$(CARGO) fmt --all --check
	@trap 'kill $$! 2>/dev/null || true' EXIT; python3 scripts/kernels.py & \
	  $(CARGO) build $(PROFILE) --workspace --bins --tests && wait $$!
	@echo 'print("kernels: ready")' | target/release/cofferdam run - --lang python
	@scripts/with-services $(CARGO) test $(PROFILE) --workspace --no-fail-fast

rooms:
	@scripts/rooms

lint: rooms
	$(CARGO) fmt --all --check
	$(CARGO) clippy $(PROFILE) --workspace --all-targets -- -D warnings
	@CARGO=$(CARGO) scripts/deny

bench: build kernels examples
	$(CARGO) bench --workspace --bench service

doctor: build kernels
	@target/release/cofferdam doctor --data-dir target/data

clean:
	$(CARGO) clean
