# make help says what there is. Everything runs as root on a bare Debian 12 with
# Go: what is missing is installed. The tests that need root, /dev/fuse or a
# program that is not there skip themselves; make test lists them.

GO        ?= go
VERSION   ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
LDFLAGS   := -s -w -X main.version=$(VERSION)
# By number: at the end of a time Go's own fuzzer may fail (go.dev/issue/75804).
FUZZTIME  ?= 20000x
IMAGE     ?= csi-uftp:latest
GOLANGCI  := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
# What the tests run: the race detector's C compiler, the programs that work on
# live mounts, and the Python clients.
PACKAGES  := ca-certificates gcc libc6-dev git sqlite3 rsync tar fuse3 util-linux \
             python3 python3-venv python3-pycryptodome

# What make bench compares with, and measures with.
BENCH_PACKAGES := fio rclone libfuse2 fuse3 tar util-linux \
                  python3 python3-venv python3-pycryptodome

# What a local Kubernetes cluster needs beside what is built for it.
E2E_PACKAGES := containerd runc containernetworking-plugins nftables iproute2 \
                busybox-static util-linux ca-certificates
E2E       := build/e2e
PODS_TEST  = env -C test/e2e/pods $(CURDIR)/$(E2E)/pods.test -test.v -test.timeout 40m -test.parallel 6 $(E2EFLAGS)

# The Python clients that test/pyclients.sh installs; the tests look there.
export UFTP_PYCLIENTS ?= $(CURDIR)/build/pyclients

.PHONY: help build man test fuse-test sanity demo bench lint fuzz image image-tar clean packages \
        e2e-build e2e-local e2e-local-up e2e-local-down e2e-kind

help: ## show this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## the static binary, bin/csi-uftp
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/csi-uftp ./cmd/csi-uftp

man: build ## the manual pages, build/man
	bin/csi-uftp man build/man

packages:
	@test/packages.sh $(PACKAGES)
	@test/pyclients.sh || echo "no Python clients: their test will be skipped" >&2

test: packages ## format, vet, go.mod and all tests, with the race detector
	@unformatted=$$(gofmt -l $$(git ls-files '*.go' 2>/dev/null || find . -name '*.go')); \
		if [ -n "$$unformatted" ]; then echo "not formatted by gofmt:" $$unformatted; exit 1; fi
	$(GO) mod tidy -diff
	$(GO) vet ./...
	CGO_ENABLED=1 $(GO) run ./test/gotest -race -timeout 30m $(TESTFLAGS) ./...

fuse-test: packages ## the tests on live mounts only
	CGO_ENABLED=1 $(GO) run ./test/gotest -race -timeout 20m $(TESTFLAGS) ./mounter/... ./test/e2e/node/...

sanity: ## csi-sanity on the driver, on live mounts
	CGO_ENABLED=1 $(GO) run ./test/gotest -race -timeout 10m $(TESTFLAGS) ./test/sanity/...

e2e-build: ## Kubernetes for e2e-local: 10 minutes at first, then kept in ~/.cache/csi-uftp-e2e
	@test/packages.sh $(E2E_PACKAGES)
	@GO=$(GO) test/e2e/cluster/build.sh $(E2E)
	$(GO) test -c -o $(E2E)/pods.test ./test/e2e/pods
	CGO_ENABLED=0 $(GO) build -o $(E2E)/uftpd ./test/e2e/pods/uftpd

e2e-local: e2e-build ## real pods, on a Kubernetes cluster of this machine that comes and goes
	$(GO) test -count=1 ./test/e2e/cluster/localkube
	$(E2E)/localkube run -bin $(E2E) -- $(PODS_TEST)
	[ -z "$$UFTPD_DIR" ] || E2E_UFTPD=$(CURDIR)/$(E2E)/uftpd $(E2E)/localkube run -bin $(E2E) -- $(PODS_TEST)

e2e-local-up: e2e-build ## the same cluster, to stay and look at
	$(E2E)/localkube up -bin $(E2E)
	@echo "kubectl is $(E2E)/kubectl; images: $(E2E)/localkube load -dir DIR TAR; the end: make e2e-local-down"

e2e-local-down: ## end what e2e-local-up started, and what killed runs left
	$(GO) run ./test/e2e/cluster/localkube down

e2e-kind: ## real pods on a new kind cluster; needs Docker, kind and kubectl
	test/e2e/kind.sh -test.v -test.timeout 40m $(E2EFLAGS)

demo: build ## a volume published, read, written and timed, on a test server
	$(GO) run ./test/demo -binary bin/csi-uftp

bench: build ## the speed of everything, beside the wire and other programs; test/bench/main.go has the settings
	@test/packages.sh $(BENCH_PACKAGES)
	@test/bench/pyunicore.sh build/pyfuse || echo "no PyUNICORE to compare with" >&2
	@test/pyclients.sh || echo "no pyuftp to compare with" >&2
	@mkdir -p build/bench
	$(GO) build -o build/bench/ ./test/bench/...
	PYFUSE=$(CURDIR)/build/pyfuse build/bench/bench -binary bin/csi-uftp -out build/bench.json

lint: ## golangci-lint, staticcheck in it
	$(GO) run $(GOLANGCI) run ./...

fuzz: ## every fuzz target, with FUZZTIME (20000x) inputs each
	@set -e; for file in $$(grep -rl --include='*_test.go' '^func Fuzz' .); do \
		for target in $$(sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p' "$$file"); do \
			echo "== $$(dirname "$$file") $$target"; \
			$(GO) test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) "$$(dirname "$$file")"; \
		done; \
	done

image: ## the container image, by docker or buildah
	@if command -v docker >/dev/null && docker info >/dev/null 2>&1; then \
		set -x; docker build --build-arg VERSION=$(VERSION) -t $(IMAGE) .; \
	elif command -v buildah >/dev/null; then \
		set -x; buildah build --build-arg VERSION=$(VERSION) -t $(IMAGE) .; \
	else \
		echo "there is no running Docker and no buildah; make image-tar builds the same image without" >&2; exit 1; \
	fi

image-tar: build ## the same image as build/csi-uftp.tar, without Docker
	@mkdir -p build
	$(GO) run ./test/ocitar -ref $(IMAGE) -out build/csi-uftp.tar /csi-uftp=bin/csi-uftp

clean: ## remove what was built
	rm -rf bin build
