.PHONY: up dist docs evidence test test-one test-one-clean lint unit molecule contract bench vm clean restore-drill

up:
	@tests/hosts/up $(ARGS)

test:
	@tests/run

# One test file, on a host that is kept for the next time: make test-one T=tests/service/test_x.py [P=debian-testing] [ARGS='-k name']
P ?= debian-13
test-one: export NOUS_VM_KEEP = 1
test-one: export NOUS_VM_TEST_PLATFORMS = $(P)
test-one: export PYTHONDONTWRITEBYTECODE = 1
test-one: export PATH := $(CURDIR)/.venv/bin:$(PATH)
test-one:
	@test -n "$(T)" || { echo 'test-one: which? make test-one T=tests/service/test_x.py [P=debian-testing]' >&2; exit 2; }
	@tests/hosts/bootstrap test
	@docker image inspect nous-vm-host:$(P)-packages > /dev/null 2>&1 || tests/hosts/images.py $(P)
	@pytest $(T) $(ARGS)

test-one-clean:
	@docker ps --all --quiet --filter 'name=-kept$$' | xargs --no-run-if-empty docker rm --force --volumes

lint:
	@tests/run lint && tests/run sanity

unit:
	@tests/run unit

molecule:
	@NOUS_VM_MOLECULE=full tests/run molecule

# What the stand-in and the real server have in common: make contract SERVER=DIR, a checkout of it that is installed in DIR/.venv. Without: the stand-in.
contract:
	@SERVER=$(SERVER) .venv/bin/pytest --verbose tests/standin/tests/test_audit_contract.py

# What a release is made of, into dist/: make dist [REPOSITORY=URL] [KEY=FINGERPRINT], as docs/install.md has it.
PYTHON ?= .venv/bin/python
dist:
	@test -x $(PYTHON) || tests/hosts/bootstrap
	@$(PYTHON) release/dist.py $(if $(REPOSITORY),--repository '$(REPOSITORY)') $(if $(KEY),--key '$(KEY)')

# The documentation site, into .cache/docs/html.
docs:
	@test -x .venv/bin/python || tests/hosts/bootstrap
	@.venv/bin/python docs/site/build.py

# Which test shows what the documentation promises: fails on a promise without one. The table is .cache/evidence.json.
evidence:
	@test -x .venv/bin/python || tests/hosts/bootstrap
	@.venv/bin/python tests/evidence.py --json .cache/evidence.json

bench:
	@tests/run bench

vm:
	@tests/run vm

# The long forms: docs-full plays the quick start as it is written, release-full tries other generations of ansible-core.
FULL := key-full rotation-full gate-full service-full ways-full host-full docs-full release-full
.PHONY: $(FULL)
$(FULL): %-full:
	@NOUS_VM_$(shell echo $* | tr a-z A-Z)=full tests/run $*

# From a destroyed host to a served client, with what is lost and how long it takes.
restore-drill:
	@NOUS_VM_WAYS=full NOUS_VM_TEST_PLATFORMS=$(P) PATH="$(CURDIR)/.venv/bin:$(PATH)" pytest --capture=no tests/ways/test_restore.py

clean:
	@tests/hosts/down
