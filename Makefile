# Commands for developers. Each target installs the tools that it needs and that are missing. `make help`
# lists the targets; tests/README.md says which of them need servers or nightly Rust.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
comma := ,

.PHONY: help
help: ## Lists the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "%-14s %s\n", $$1, $$2 }' Makefile

.PHONY: servers
servers: ## Installs the PostgreSQL servers that the tests start, versions 10 to 18
	tests/support/install-servers.sh

.PHONY: test
test: servers ## Runs every test
	cargo test --workspace --locked

.PHONY: demo
demo: ## Captures from a throw-away server while its tables change, and shows the documents
	@tests/support/demo.sh

.PHONY: test-aarch64
test-aarch64: export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER = aarch64-linux-gnu-gcc
test-aarch64: export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER = \
    qemu-aarch64-static -L /usr/aarch64-linux-gnu
test-aarch64: ## Runs the unit tests for aarch64 (NEON) in an emulator
	@command -v aarch64-linux-gnu-gcc qemu-aarch64-static >/dev/null || { \
	    sudo=$$([ "$$(id -u)" -eq 0 ] || echo sudo); $$sudo apt-get update -qq; \
	    $$sudo apt-get install -y -qq gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user-static; }
	rustup target add aarch64-unknown-linux-gnu
	cargo test --workspace --lib --locked --target aarch64-unknown-linux-gnu

# Miri interprets the arena and the JSON code that all processors share. The unit tests compare the code
# of each processor with it. Tests that would take minutes are left out there.
.PHONY: miri
miri: export MIRIFLAGS = -Zmiri-disable-isolation
miri: ## Runs the tests of the arena and of the scalar JSON code in Miri (needs nightly Rust)
	@cargo +nightly --version >/dev/null 2>&1 || { \
	    echo 'Miri needs nightly Rust: rustup toolchain install nightly' >&2; exit 1; }
	@cargo +nightly miri --version >/dev/null 2>&1 || \
	    rustup component add --toolchain nightly miri rust-src || { \
	    echo 'Miri cannot be had for this nightly: update it with rustup, or choose one that has Miri' >&2; \
	    exit 1; }
	cargo +nightly miri test --locked --target-dir target/miri -p source-postgres-protocol --lib -- pgoutput::arena
	cargo +nightly miri test --locked --target-dir target/miri -p source-postgres --lib -- json::

.PHONY: cargo-deny
cargo-deny:
	@command -v cargo-deny >/dev/null || \
	    CARGO_PROFILE_DEV_DEBUG=0 cargo install --locked --debug cargo-deny@0.20.2

.PHONY: deny
deny: cargo-deny ## Checks licences, duplicate versions and sources of dependencies (deny.toml)
	cargo deny --locked check licenses bans sources

.PHONY: advisories
advisories: cargo-deny ## Checks dependencies against the RustSec advisories (needs github.com)
	@cargo deny --locked check advisories || { \
	    echo 'Either a dependency has an advisory (above), or the advisory database could not be fetched:' >&2; \
	    echo 'it is the git repository https://github.com/RustSec/advisory-db. Without that network nothing was checked.' >&2; \
	    exit 1; }

.PHONY: lint
lint: ## Checks formatting, lints and documentation
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	cargo clippy --bench end_to_end --locked -- -D warnings
	RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps --locked

# PostgreSQL 15 comes with the clients that are measured beside the connector. All other settings are
# options of the program: make bench ARGS=--help
VERSIONS ?= 15,18

.PHONY: bench
bench: ## Measures the connector end to end, against real servers (VERSIONS, ARGS)
	tests/support/install-servers.sh 15 $(subst $(comma), ,$(VERSIONS))
	cargo bench --locked --bench end_to_end -- --versions $(VERSIONS) $(ARGS)

.PHONY: chaos
chaos: servers ## Runs the load test in its long form (CHAOS_KILLS, CHAOS_ROWS, CHAOS_SEED)
	CHAOS_KILLS=$${CHAOS_KILLS:-60} CHAOS_ROWS=$${CHAOS_ROWS:-20000} \
	    cargo test --release --locked --test main chaos -- --nocapture

.PHONY: types
types: ## Regenerates the table of types in src/value/types.md from the code
	UPDATE_TYPES=1 cargo test --locked --lib value::documentation

.PHONY: differential
differential: servers ## Compares many random values of each type with the server (DIFFERENTIAL_ROWS, DIFFERENTIAL_SEED)
	DIFFERENTIAL_ROWS=$${DIFFERENTIAL_ROWS:-1000} DIFFERENTIAL_SEED=$${DIFFERENTIAL_SEED:-$$RANDOM} \
	    cargo test --release --locked --test main differential -- --nocapture --test-threads=2

FUZZ_TARGETS = $(basename $(notdir $(wildcard fuzz/fuzz_targets/*.rs)))
SECONDS_EACH ?= 30

.PHONY: fuzz-short
fuzz-short: ## Fuzzes each target for half a minute (needs nightly Rust)
	@command -v cargo-fuzz >/dev/null || cargo install --locked cargo-fuzz
	@for target in $(FUZZ_TARGETS); do \
	    cargo +nightly fuzz run "$$target" -- -max_total_time=$(SECONDS_EACH); \
	done

.PHONY: fuzz
fuzz: SECONDS_EACH = 600
fuzz: fuzz-short ## Fuzzes each target for ten minutes
