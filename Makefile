# One page of what can be done. `make help` prints it.
CARGO ?= cargo

.PHONY: help build test demo chaos bench bench-install bench-provision bench-api bench-footprint bench-gateway bench-limits bench-failover bench-databases clean-machine schemathesis

help: ## this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 28

build: ## the binary: target/release/moorage
	$(CARGO) build --release --locked -p moorage-server

test: ## installs what is missing and runs every check and test
	@scripts/test

demo: ## builds, starts a server, makes a MariaDB and a PostgreSQL cluster, asks each a question and kills its primary; safe to repeat
	@scripts/demo

bench: ## every benchmark; tables on the terminal, figures in target/bench/
	@failed=; for bench in provision databases api gateway limits failover footprint; do \
	    $(MAKE) --no-print-directory bench-$$bench || failed="$$failed $$bench"; done; \
	[ -z "$$failed" ] || { echo "make bench: FAILED$$failed"; exit 1; }

bench-install:
	@scripts/install-missing bench

bench-provision: build ## from POST to the first query, beside the engines' own bare start and the stock way
	$(CARGO) xtask bench provision

bench-databases: build ## from asking for a database by a plan to its first query; pages of two hundred while their engine is stopped
	$(CARGO) xtask bench databases

bench-api: build bench-install ## signed requests per second with ten thousand clusters in the store, on SQLite and on PostgreSQL
	$(CARGO) xtask bench api

bench-gateway: build bench-install ## queries through the gateway, beside HAProxy and beside no gateway
	$(CARGO) xtask bench gateway

bench-limits: build bench-install ## what a neighbour feels of a cluster that eats memory; how clusters share processors (as root)
	$(CARGO) xtask bench limits

bench-failover: build bench-install ## seconds without an acknowledged write when an instance is killed or hangs, and during a switchover, beside Patroni (as root)
	$(CARGO) xtask bench failover

bench-footprint: build bench-install ## memory of server, gateway and shims after load and ten minutes of rest
	$(CARGO) xtask bench footprint

clean-machine: ## runs `make test` and `make demo` in a fresh Debian 12 made by debootstrap (as root)
	@scripts/clean-machine

chaos: ## strikes clusters of two instances, hundreds of times in every way, while many clients write (an hour; as root)
	MOORAGE_CHAOS=$${MOORAGE_CHAOS:-20} $(CARGO) nextest run --locked --workspace --profile chaos -E 'binary(high_availability)' --no-capture

schemathesis: build ## throws generated requests at the API for ten minutes (from PyPI)
	MOORAGE_BINARY=target/release/moorage tests/vendors/schemathesis 600
