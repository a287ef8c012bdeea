export CGO_ENABLED = 0

.PHONY: build test lint demo ci packages
build:
	go build -tags=nethttpomithttp2 -o bin/ ./cmd/... # the API is HTTP/1.1: without HTTP/2 they are smaller
test:
	go test ./...
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
