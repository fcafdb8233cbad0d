# Watchbill. `make` prints what there is; `make check` is what CI runs.

SHELL       := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS   += --no-print-directory

GO       ?= go
FUZZTIME ?= 10s

# The linter has its own module, so that its dependencies never mix with the
# daemon's. The first run builds it, which takes a few minutes.
LINT := $(GO) tool -modfile=tools/golangci-lint/go.mod golangci-lint

.PHONY: help
help: ## print this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## /\1\t/' | expand -t 10

.PHONY: build
build: ## compile everything, and the binary into bin/
	$(GO) build ./...
	$(GO) build -trimpath -o bin/watchbill ./cmd/watchbill

.PHONY: test
test: ## run the tests; needs nothing but Go
	$(GO) test ./...

# The log keeps every line of the run; the terminal shows one line per package
# and, when something failed, everything but the noise of what passed.
.PHONY: race
race: ## run the tests with the race detector; the full log is bin/race.log
	@mkdir -p bin
	@echo '$(GO) test -race -v -timeout 20m ./... > bin/race.log'
	@$(GO) test -race -v -timeout 20m ./... 2>&1 | tee bin/race.log \
		| { grep --line-buffered -E '^(ok|FAIL|panic:|\?|# |\s*--- (FAIL|SKIP))' || true; } \
		|| { echo; echo 'The tests failed. What they said:'; \
		     grep -vE '^\s*(=== (RUN|PAUSE|CONT|NAME)|--- PASS)|^(ok|PASS|\?)\b' bin/race.log; exit 1; }

.PHONY: lint
lint: ## run go vet, go fix, the formatters and the linters; change nothing
	$(GO) vet ./...
	@echo '$(GO) fix -diff ./...'
	@diff=$$($(GO) fix -diff ./... 2>&1) || true; \
		test -z "$$diff" || { echo "$$diff"; echo 'go fix has something to say: run make fmt'; exit 1; }
	$(LINT) fmt --diff
	$(LINT) run

.PHONY: fmt
fmt: ## rewrite the code as lint wants it
	$(GO) fix ./...
	$(LINT) fmt

.PHONY: fuzz
fuzz: ## run every fuzz test for FUZZTIME (10s)
	@grep -rl --include='*_test.go' '^func Fuzz' . | sort | while read -r file; do \
		grep -oE '^func Fuzz[A-Za-z0-9_]*' "$$file" | cut -c6- | while read -r name; do \
			echo "== $$(dirname "$$file") $$name"; \
			$(GO) test -run '^$$' -fuzz "^$$name$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 1s "$$(dirname "$$file")" </dev/null; \
		done; \
	done

.PHONY: bench
bench: ## measure beside Alertmanager, and run every benchmark
	WATCHBILL_BENCH=1 $(GO) test -count=1 -timeout 30m -run TestBench -v ./internal/bench
	$(GO) test -run '^$$' -bench . -benchmem ./...

.PHONY: faults
faults: ## kill, cut, fill, flood and deceive the daemon; FULL=1 for hours of it
	WATCHBILL_FAULTS=$(if $(FULL),full,1) $(GO) test -count=1 -v -timeout $(if $(FULL),180m,30m) ./internal/faults
	$(GO) test -count=1 -v -tags faults -run RealProcess ./internal/daemon

.PHONY: docs
docs: ## write the generated pages under docs/
	$(GO) generate ./...

# Compared with what was there before rather than with git, so that pages which
# are being edited by hand do not fail it.
.PHONY: docs-check
docs-check:
	@before=$$(find docs -type f -exec sha256sum {} + | sort); \
		$(MAKE) docs; \
		after=$$(find docs -type f -exec sha256sum {} + | sort); \
		diff <(echo "$$before") <(echo "$$after") \
		|| { echo 'docs/ was out of date; it has been rewritten: commit it'; exit 1; }

.PHONY: check
check: ## everything CI wants: build, lint, race, docs up to date
	@$(MAKE) build
	@$(MAKE) lint
	@$(MAKE) race
	$(GO) test ./internal/daemon ./deploy ./targets
	@$(MAKE) docs-check

# What is released, per processor: the binary alone, a Debian package, and a bill
# of materials; checksums of all. The version is what Go makes of the git tag.
RELEASE    := bin/release
MAINTAINER ?= The operators of this host <root@localhost>
NFPM       := $(GO) tool -modfile=tools/nfpm/go.mod nfpm
SBOM       := $(GO) tool -modfile=tools/cyclonedx-gomod/go.mod cyclonedx-gomod

.PHONY: release
release: ## build binaries, Debian packages, SBOMs and checksums into bin/release, and test them
	rm -rf $(RELEASE)
	mkdir -p $(RELEASE)/share/man $(RELEASE)/out
	for arch in amd64 arm64; do \
		CGO_ENABLED=0 GOOS=linux GOARCH=$$arch $(GO) build -buildvcs=true -trimpath -ldflags '-s -w' -o $(RELEASE)/linux-$$arch/watchbill ./cmd/watchbill; \
	done
	host=$(RELEASE)/linux-$$($(GO) env GOHOSTARCH)/watchbill; \
	$$host manual $(RELEASE)/share/man; \
	gzip -9n $(RELEASE)/share/man/*.1; \
	$$host completion bash > $(RELEASE)/share/watchbill.bash; \
	$$host completion zsh > $(RELEASE)/share/_watchbill; \
	$$host completion fish > $(RELEASE)/share/watchbill.fish
	version=$$($(GO) version -m $(RELEASE)/linux-amd64/watchbill | awk '$$1 == "mod" { print $$3 }'); \
	for arch in amd64 arm64; do \
		cp $(RELEASE)/linux-$$arch/watchbill $(RELEASE)/out/watchbill-$$version-linux-$$arch; \
		ARCH=$$arch VERSION=$$(echo "$${version#v}" | sed 's/-/~/') MAINTAINER='$(MAINTAINER)' \
			$(NFPM) package --config deploy/package/nfpm.yaml --packager deb --target $(RELEASE)/out/; \
		$(SBOM) bin -json -version "$$version" -output $(RELEASE)/out/watchbill-$$version-linux-$$arch.cdx.json $(RELEASE)/linux-$$arch/watchbill; \
	done
	cd $(RELEASE)/out && sha256sum -- * > SHA256SUMS
	WATCHBILL_RELEASE=$(CURDIR)/$(RELEASE)/out $(GO) test -count=1 -tags release -run TestRelease ./deploy

.PHONY: demo
demo: ## break a small service and watch the page arrive
	$(GO) run ./cmd/watchbill demo
