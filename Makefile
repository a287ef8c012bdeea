export CGO_ENABLED = 0

# What runs for minutes, or wants tools of its own, has a build tag: go test ./...
# leaves it out. A lane runs alone by its target; -timeout 0, because a test ends
# by an event and never by a clock.
.PHONY: build test lint demo ci packages test-soak test-crash test-power test-packages test-service test-pfsense
build:
	go build -tags=nethttpomithttp2 -o bin/ ./cmd/... # the API is HTTP/1.1: without HTTP/2 they are smaller
test:
	go test ./...
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
lint:
	go vet ./... && GOOS=freebsd go vet ./...
	go run mvdan.cc/gofumpt@v0.12.0 -l .
	go run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0 run ./...
demo:
	go run ./cmd/dispatchd demo
ci:
	.ci/run
packages:
	go -C packaging/build run .
