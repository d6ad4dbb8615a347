.PHONY: up test lint unit molecule bench vm clean key-full rotation-full gate-full service-full

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

vm: ## a real VM from power on to a running nous, reboots, power cuts; its console and timeline are kept in .cache/vm/last
	@tests/run vm

key-full: ## races and kills of the signing key, whole
	@NOUS_VM_FULL=1 tests/run key

rotation-full: ## a hundred rotations, hundreds of kills, a hundred failing days
	@NOUS_VM_ROTATION=full tests/run rotation

gate-full: ## thousands of mutated paths, slow senders, renewal
	@NOUS_VM_GATE=full tests/run gate

service-full: ## restarts, kills, upgrades and crash loops under load, whole
	@NOUS_VM_SERVICE=full tests/run service

clean: ## leave nothing behind
	@tests/hosts/down
