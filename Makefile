export CGO_ENABLED = 0

.PHONY: build test lint demo
build:
	go build -o bin/ ./cmd/...
test:
	go test ./...
lint:
	gofmt -l cmd daemon dispatchers ipc scheduler test && go vet ./... && GOOS=freebsd go vet ./...
demo:
	go run ./cmd/dispatchd demo
