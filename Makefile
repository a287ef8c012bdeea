export CGO_ENABLED = 0

.PHONY: build test lint demo ci packages fuzz test-all \
	test-soak test-crash test-power test-packages test-service test-pfsense test-emulated test-race
build:
	go build -tags=nethttpomithttp2 -o bin/ ./cmd/... # the API is HTTP/1.1: without HTTP/2 they are smaller
test:
	go test ./...

# The lanes: what runs for minutes, or wants tools of its own. A build tag keeps
# each out of go test ./..., and -timeout 0 leaves its end to its events. A lane
# skips by name what this machine lacks; -v shows the reason.
test-soak:
	go test -tags soak -timeout 0 ./daemon/... ./scheduler
test-crash:
	go test -tags crash -timeout 0 ./test/crash
test-power:
	go test -tags power -timeout 0 ./test/power
test-packages:
	go test -tags packages -timeout 0 ./test/packages ./test/examples
test-service:
	go test -tags service -timeout 0 ./test/service/...
test-pfsense:
	go test -tags pfsense -timeout 0 ./packaging/pfsense
test-emulated: # the arm (v6) and arm64 programs under qemu-user
	for arch in arm arm64; do \
	  DISPATCHD_TEST_ARCH=$$arch go test -timeout 0 -run TestScripts ./test/cli && \
	  DISPATCHD_TEST_ARCH=$$arch go test -tags crash -timeout 0 -run TestSweep ./test/crash -kills 30 -pace 20 || exit 1; \
	done
test-race: # what lies below test/ runs programs, which are built without it
	CGO_ENABLED=1 go test -race -timeout 0 ./cmd/... ./daemon/... ./dispatchers/... ./ipc/... ./scheduler
fuzz: # by count: where a time is over, go1.26 may call it a failure (golang/go#75804)
	git grep -oE '^func Fuzz[A-Za-z0-9_]+' -- '*_test.go' | while IFS=: read -r path target; do \
	  case $$path in cmd/*) n=50x m=5x ;; *) n=10000x m=100x ;; esac; \
	  go test -run '^$$' -fuzz "^$${target#func }\$$" -fuzztime $$n -fuzzminimizetime $$m "./$$(dirname "$$path")" || exit 1; \
	done
test-all: test test-soak test-crash test-power test-packages test-service test-pfsense test-emulated test-race fuzz

lint:
	go vet ./... && GOOS=freebsd go vet ./...
	go vet -tags soak,crash,power,packages,service,pfsense ./...
	test -z "$$(go run mvdan.cc/gofumpt@v0.12.0 -l . | tee /dev/stderr)"
	go run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0 run --build-tags soak,crash,power,packages,service,pfsense ./...
demo:
	go run ./cmd/dispatchd demo
ci: # all of it; asks before it installs anything
	.ci/run
packages:
	go -C packaging/build run .
