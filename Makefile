# `make help` explains every target. Settings are environment variables, see README.md.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
export PYTHONPATH := $(CURDIR):$(CURDIR)/plugins
# Images of Python often set it; every process of ours would then compile again whatever it imports.
unexport PYTHONDONTWRITEBYTECODE
# uv from the machine, else one of the project's own in .uv/.
UV := $(shell command -v uv 2>/dev/null || echo .uv/bin/uv)
PYTHON := .venv/bin/python
LETTERPRESS := $(PYTHON) -m letterpress.operations
DESTINATION ?= local_esp
# Many tests wait for a server or a file: one worker more than the smallest machine has cores.
WORKERS ?= 3

.PHONY: help setup run down ui shop webhooks shop-history next-day report explain share rebuild sync drift replay publish-list publish-rollback model-rollback test test-slow lint format bench bench-ml

help: ## Explain every target
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-18s %s\n", $$1, $$2}'

.uv/bin/uv:
	@for python in python3.13 python3.12 python3.11 python3; do \
	  if $$python -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null; then \
	    $$python -m venv .uv && .uv/bin/python -m pip install --quiet --disable-pip-version-check 'uv>=0.7' && exit 0; fi; done; \
	  echo "make: expected Python 3.11 to 3.13 with venv, found none; next step: install one, or uv" >&2; exit 1

setup: $(filter .uv/bin/uv,$(UV)) ## Install what the lock file pins into .venv
	@$(UV) sync --frozen --quiet

run: setup ## Run the whole line on the demo shop (and Online Retail), report, leave the UI up
	@$(LETTERPRESS) run

down: ## Stop exactly what `make run` started
	@$(LETTERPRESS) down

ui: setup ## Start the services (Airflow, demo shop, local ESP) without running the line
	@$(LETTERPRESS) ui

shop: setup ## Serve the demo shop alone, in the foreground
	@$(PYTHON) -m letterpress.demo.shop

webhooks: setup ## Receive what vendors tell by webhook of mail, in the foreground: LETTERPRESS_WEBHOOKS="klaviyo hubspot"
	@$(PYTHON) -m letterpress.activation.webhooks

shop-history: setup ## Write the shop's history as Parquet: CUSTOMERS=1000000 EVENTS=50000000 (or DAYS=…) [SEED=… OUT=…]
	@$(PYTHON) -m letterpress.demo.history $(if $(CUSTOMERS),--customers $(CUSTOMERS)) $(if $(EVENTS),--events $(EVENTS)) \
	  $(if $(DAYS),--days $(DAYS)) $(if $(SEED),--seed $(SEED)) $(if $(OUT),--out '$(OUT)')

next-day: ## Advance the demo shop's clock: DAYS=1
	@$(LETTERPRESS) next-day --days $(or $(DAYS),1)

report: ## Print the report of what stands now
	@$(LETTERPRESS) report

explain: ## Explain one person: CUSTOMER=<customer_id | shop:C000001 | an e-mail address> [SAFE=1: without personal data]
	@$(LETTERPRESS) explain '$(or $(CUSTOMER),$(error CUSTOMER: expected an id, shop:C000001 or an e-mail address))' $(if $(SAFE),--safe)

share: ## Count customers for people outside: with noise, each published version once (operations/shared_report.yml)
	@$(LETTERPRESS) share

sync: ## Sync to DESTINATION=local_esp through Airflow; DRY_RUN=1 only prints the plan
	@$(LETTERPRESS) sync $(DESTINATION) $(if $(DRY_RUN),--dry-run)

drift: ## Read people back from DESTINATION and compare with the ledger: SAMPLE=1000 (0: all) [REPAIR=1]
	@$(LETTERPRESS) drift $(DESTINATION) --sample $(or $(SAMPLE),1000) $(if $(REPAIR),--repair)

replay: ## Let the next sync try again what DESTINATION refused: [CODE=invalid_email]
	@$(LETTERPRESS) replay $(DESTINATION) $(if $(CODE),--code '$(CODE)')

rebuild: setup ## Rebuild profile, segments and features of past dates: FROM=2011-05-01 TO=2011-06-30 [EVERY=7] [KNOWN_THROUGH=n | AS_KNOWN_THEN=1]
	@$(LETTERPRESS) rebuild '$(or $(FROM),$(error FROM: expected a date such as 2011-05-01))' '$(or $(TO),$(FROM))' \
	  $(if $(EVERY),--every $(EVERY)) $(if $(KNOWN_THROUGH),--known-through $(KNOWN_THROUGH)) $(if $(AS_KNOWN_THEN),--as-known-then)

publish-list: ## List the published versions
	@$(LETTERPRESS) publish-list

publish-rollback: ## Go back to the version before: CHANNEL=activation|features [TO=version]
	@$(LETTERPRESS) publish-rollback $(or $(CHANNEL),activation) $(if $(TO),--to $(TO))

model-rollback: ## Let the version serve that served before: MODEL=customer_clusters
	@$(LETTERPRESS) model-rollback $(or $(MODEL),$(error MODEL: expected a model of ml/models.yml))

test: setup ## Pass the everyday tests
	@$(PYTHON) -m pytest -q -n $(WORKERS) --dist loadscope

test-slow: setup ## Pass the slow proofs: faults, kills, browsers, a run through a real Airflow
	@$(PYTHON) -m pytest -q -m slow -n $(WORKERS) --dist loadscope --no-loadscope-reorder

lint: setup ## Ruff, SQLFluff, and the rules of the segments
	@.venv/bin/ruff check . && .venv/bin/ruff format --check . && $(PYTHON) -m letterpress.warehouse.segments && .venv/bin/sqlfluff lint --processes 2 dbt_project/models dbt_project/tests/*.sql

format: setup ## Format Python and SQL
	@.venv/bin/ruff format . && .venv/bin/ruff check --fix .

bench: setup ## Measure what benchmarks/README.md says (SIZE=full for the sizes that an issue names)
	@for file in benchmarks/*.py; do $(PYTHON) "$$file" || [ $$? -eq 2 ] || exit 1; done
	@$(PYTHON) -m benchmarks.ml

bench-ml: setup ## Measure every model on public data and on demo shops, each beside its baseline
	@$(PYTHON) -m benchmarks.ml

bench-%: setup
	@$(PYTHON) benchmarks/$(subst -,_,$*).py
