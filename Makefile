.PHONY: up test lint unit molecule bench clean

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

clean: ## leave nothing behind
	@tests/hosts/down
