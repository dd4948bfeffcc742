# One page of what can be done. `make help` prints it.
CARGO ?= cargo

.PHONY: help build test demo bench bench-provision clean-machine schemathesis

help: ## this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 28

build: ## the binary: target/release/moorage
	$(CARGO) build --release --locked -p moorage-server

test: ## installs what is missing and runs every check and test
	@scripts/test

demo: ## builds, starts a server, makes a MariaDB and a PostgreSQL cluster and asks each a question; safe to repeat
	@scripts/demo

bench: bench-provision ## every benchmark; tables on the terminal, figures in target/bench/

bench-provision: build ## from POST to the first query, beside the engines' own bare start and the stock way
	$(CARGO) xtask bench provision

clean-machine: ## runs `make test` and `make demo` in a fresh Debian 12 made by debootstrap (as root)
	@scripts/clean-machine

schemathesis: build ## throws generated requests at the API for ten minutes (from PyPI)
	MOORAGE_BINARY=target/release/moorage tests/vendors/schemathesis 600
