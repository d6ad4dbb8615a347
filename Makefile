.PHONY: up test lint unit molecule bench vm clean key-full rotation-full gate-full service-full

up:
	@tests/hosts/up $(ARGS)

test:
	@tests/run

lint:
	@tests/run lint && tests/run sanity

unit:
	@tests/run unit

molecule:
	@tests/run molecule

bench:
	@tests/run bench

vm:
	@tests/run vm

key-full:
	@NOUS_VM_KEY=full tests/run key

rotation-full:
	@NOUS_VM_ROTATION=full tests/run rotation

gate-full:
	@NOUS_VM_GATE=full tests/run gate

service-full:
	@NOUS_VM_SERVICE=full tests/run service

clean:
	@tests/hosts/down
