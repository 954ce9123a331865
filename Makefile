# make test    everything that CI checks, with all set-up
# make demo    the main job on a real server, with all set-up
# make bench   pgkeep beside pg_dump, pgBackRest and pgcopydb, with all set-up; writes
#              benches/RESULTS.md; fails where a bar is missed
# make bench-loops     the loops that every row passes through, in bytes a second
# make bench-tables    10,000 small tables, beside pg_dump; fails over 5 s or 300 MB
# make bench-definitions  what the capture of DDL costs with 10,000 tables
# make bench-stream    the change stream, beside pgbench and pg_recvlogical; restores to a moment
# make bench-repository  100,000 packs and 50 million chunks; fails over 10 s or 500 MB
#
# Single steps of `make test`: format, lint, docs, licences, reader, fuzz, tests.
# `make servers` and `make tools` only install (into .pgkeep-dev), `make stop` stops servers.

export PATH := $(CURDIR)/.pgkeep-dev/tools/bin:$(PATH)
export PYTHONPATH := $(CURDIR)/.pgkeep-dev/tools/python
CARGO := cargo
FUZZ_SECONDS ?= 15

.PHONY: test demo bench bench-loops bench-tables bench-definitions bench-stream bench-repository servers tools stop format lint docs licences reader fuzz tests
# In this order, one after another: what fails soonest comes first, and the test runner's
# count last.
.NOTPARALLEL:

test: tools servers format lint docs licences reader fuzz tests

demo:
	tests/servers install 18
	$(CARGO) build --locked -p pgkeep
	tests/servers run 18 python3 tests/demo/demo.py target/debug/pgkeep

bench:
	tests/servers install 17
	benches/rivals
	$(CARGO) build --locked --release -p pgkeep
	$(CARGO) build --locked --release -p pgkeep-benches --bin floor
	benches/compare --write

bench-loops:
	$(CARGO) bench --locked -p pgkeep-benches

bench-tables:
	tests/servers install 18
	$(CARGO) build --locked --release -p pgkeep
	tests/servers run 18 python3 benches/many_tables.py target/release/pgkeep

bench-definitions:
	tests/servers install 18
	$(CARGO) build --locked --release -p pgkeep
	tests/servers run 18 python3 benches/definitions.py target/release/pgkeep

bench-stream:
	tests/servers install 18
	$(CARGO) build --locked --release -p pgkeep
	tests/servers run 18 python3 benches/change_stream.py target/release/pgkeep

bench-repository: tools
	tests/servers install 18
	$(CARGO) build --locked --release -p pgkeep
	tests/servers run 18 python3 benches/large_repository.py target/release/pgkeep

servers:
	tests/servers install
	tests/regression-database install

tools:
	.ci/tools

stop:
	tests/servers stop

format:
	$(CARGO) fmt --all --check

lint:
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings

docs:
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --workspace --no-deps

# The advisories need a database from the network that CI does not have. They are a job for
# whoever updates dependencies: `cargo deny check advisories`.
licences:
	cargo deny --all-features check bans licenses sources

reader:
	python3 -m unittest discover -s format-spec/reader -p 'test_*.py'

# Without a sanitizer: the code holds no `unsafe`, and so this needs no nightly compiler.
fuzz:
	@cd fuzz && cargo fuzz build --sanitizer none --release && \
	for target in $$(cargo fuzz list); do \
	    mkdir -p corpus/$$target; \
	    cargo fuzz run --sanitizer none --release $$target corpus/$$target seeds/$$target -- \
	        -max_total_time=$(FUZZ_SECONDS) -max_len=65536 -rss_limit_mb=2048 \
	        >target/$$target.log 2>&1 || { tail -60 target/$$target.log; exit 1; }; \
	    echo "fuzz $$target: $$(grep '^Done ' target/$$target.log)"; \
	done

tests:
	$(CARGO) test --locked --workspace --doc --quiet
	$(CARGO) nextest run --locked --workspace; status=$$?; tests/servers stop; exit $$status
