# Two cores and a few gigabytes are enough. `make help` lists what there is.
.DEFAULT_GOAL := help
.PHONY: help bootstrap bootstrap-tests demo demo-down status report labels rollout rollback publish pulled reconcile backup restore chaos attack fuzz bench bench-anomalies audit sbom test test-full test-arm64 lint unit scenarios docs clean
export PATH := $(CURDIR)/.venv/bin:$(PATH)
IN_HOSTS := python3 tools/testhosts.py run --
# The longest first: three run at a time.
ROLES := timescaledb mqtt_bridge spark tls_certificate streaming_job mosquitto exporters kafka minio base pull grafana firewall python_app artifact systemd_service
# Installs the whole system and waits for alerts: for `make test-full`.
LONG_ROLES := monitoring

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

bootstrap: ## install on this machine what the rest needs, and say what
	@sh tools/bootstrap.sh

bootstrap-tests:
	@sh tools/bootstrap.sh --tests

demo: ## three hosts, the whole system on them, readings, a live table
	@started=$$(date +%s); sh tools/bootstrap.sh && \
	DEMO_BOOTSTRAP_SECONDS=$$(($$(date +%s) - started)) $(IN_HOSTS) python -m tools.demo

demo-down: ## remove the demo's hosts and their network
	@python3 tools/testhosts.py down demo

INVENTORY := inventories/demo

status: ## one table: services, lag, latencies, disks, clocks; INVENTORY=inventories/…, JSON=1
	@python -m tools.status --inventory $(INVENTORY) $(if $(JSON),--json)

report: ## one HTML page of the last hours for people on the spot; INVENTORY=inventories/…, HOURS=24
	@$(IN_HOSTS) ansible-playbook -i $(INVENTORY) -e report_hours=$(or $(HOURS),24) playbooks/report.yml $(ARGS)

labels: ## pages of labels with QR codes for who installs devices; INVENTORY=inventories/…, ARGS=gw7
	@python -m tools.labels --inventory $(INVENTORY) $(ARGS)

reconcile: ## compare Kafka, database and archive by hour; INVENTORY=inventories/…, HOURS=24
	@$(IN_HOSTS) ansible-playbook -i $(INVENTORY) -e reconcile_hours=$(or $(HOURS),2) playbooks/reconcile.yml

backup: ## back the database up, check it, fetch a copy to backups/; INVENTORY=inventories/…
	@$(IN_HOSTS) ansible-playbook -i $(INVENTORY) playbooks/backup.yml $(ARGS)

restore: ## put the newest backup back, and what came later; ARGS='-e restore_time=…'
	@$(IN_HOSTS) ansible-playbook -i $(INVENTORY) playbooks/restore.yml $(ARGS)

TREE = $(if $(RELEASE),build/releases/$(RELEASE),.)

rollout: ## to the gateways, in waves with a gate; INVENTORY=inventories/…, RELEASE=tag, ARGS='--check --diff'
	@[ -d $(TREE) ] || git worktree add --quiet --detach $(TREE) $(RELEASE)
	@inventory=$(abspath $(INVENTORY)) folder=$(CURDIR)/results; cd $(TREE) && $(IN_HOSTS) ansible-playbook \
	  -i $$inventory -e edge_rollout_folder=$$folder playbooks/gateways.yml $(ARGS)

rollback: ## gateways go back to their release of before; INVENTORY=inventories/…, ARGS='--limit gw7'
	@$(IN_HOSTS) ansible-playbook -i $(INVENTORY) playbooks/rollback.yml $(ARGS)

publish: ## a signed release for gateways that pull theirs; INVENTORY=inventories/…, ARGS='-e publish_key=… -e publish_percent=10'
	@$(IN_HOSTS) ansible-playbook -i $(INVENTORY) playbooks/publish.yml $(ARGS)

pulled: ## what those gateways reported; INVENTORY=inventories/…
	@$(IN_HOSTS) ansible-playbook -i $(INVENTORY) playbooks/pulled_status.yml $(ARGS)

chaos: ## break the demo's hosts while readings flow: ARGS='--count 200 --kinds kills'
	@$(IN_HOSTS) python -m tests.chaos $(ARGS)

attack: ## try on the demo's hosts what should be refused; results/attack.json; ARGS=--scan
	@$(IN_HOSTS) python -m tests.security $(ARGS)

fuzz: ## 10^6 bad payloads through the decoder: ARGS='--cases 100000 --seed 7'
	@python -m tests.fuzz $(ARGS)

bench: ## measure, beside the peers: ARGS='relays --scale 0.1 --repeats 1'
	@$(IN_HOSTS) python -m benchmarks $(ARGS)

bench-anomalies: ## the anomaly detector beside others: ARGS='--days 60 --data DIR'
	@python -m benchmarks.anomalies $(ARGS)

test: bootstrap-tests ## what CI runs: lint, unit tests, every scenario, the demo
	@$(MAKE) --no-print-directory --jobs=2 --output-sync=target lint unit
	@python3 tools/testhosts.py down demo
	@$(IN_HOSTS) sh tools/scenarios.sh default:install $(addprefix roles/,$(ROLES)) default:verify
	pytest tests/demo

# Also what `test` shortens: all faults, both versions of Debian, a second run of each role.
test-full: export EDGE_LONG := 1
test-full: test ## the same in full, and the scenarios that take long
	@$(IN_HOSTS) sh tools/scenarios.sh single_node rollout bundle enroll pull $(addprefix roles/,$(LONG_ROLES))

test-arm64: ## nightly: artifacts for arm64, and a gateway on an emulated machine
	python -m tools.artifacts --arch arm64
	@$(IN_HOSTS) sh tools/scenarios.sh arm64

audit: ## look the locked packages up among known vulnerabilities (asks PyPI)
	@for lock in requirements/*.txt roles/artifact/files/locks/*.txt; do \
	  echo "audit: $$lock"; pip-audit --strict --progress-spinner=off --disable-pip --require-hashes -r $$lock || failed=1; \
	done; [ -z "$$failed" ]

sbom: ## a bill of materials (CycloneDX) for each kind of host, in build/sbom
	@python -m tools.sbom $(ARGS)

lint: ## ruff, mypy, yamllint, ansible-lint
	ruff check .
	ruff format --check .
	mypy
	yamllint --strict .
	ansible-lint site.yml playbooks inventories roles molecule

unit: ## tests that need no test host
	pytest --ignore=tests/demo tests

scenarios: ## the scenario of each role
	@$(IN_HOSTS) sh tools/scenarios.sh $(addprefix roles/,$(ROLES))

docs: ## write the roles' README files and the dashboards anew
	python -m tools.role_docs
	python -m dashboards

clean: demo-down ## remove the test hosts and what was built here; the artifact cache stays
	@python3 tools/testhosts.py down test
	@python3 tools/testhosts.py down offline
	rm -rf .venv build results
