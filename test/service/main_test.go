//go:build linux && service

package service

import (
	"os"
	"testing"

	"dispatchd/test/box"
	"dispatchd/test/service/testbed"
)

func TestMain(m *testing.M) {
	testbed.Enter()
	os.Exit(box.Main(m))
}
