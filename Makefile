.PHONY: up test lint unit molecule bench clean key-full

up: ## a systemd container as the host, the site playbook against it, what to try
	@tests/hosts/up $(ARGS)

test: ## everything that CI runs
	@tests/run

lint:
	@tests/run lint && tests/run sanity

unit:
	@tests/run unit

molecule:
	@tests/run molecule

bench:
	@tests/run bench

key-full: ## races and kills of the signing key, whole
	@NOUS_VM_FULL=1 tests/run key

clean: ## leave nothing behind
	@tests/hosts/down
