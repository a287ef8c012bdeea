package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// stamps are what the jobs of testdata/stamp.c leave in a file: when each was
// there.
type stamps struct {
	file   string
	binary string
}

// stamp is one job's, by the monotonic clock in nanoseconds: its first
// instruction and its last.
type stamp struct{ First, Last int64 }

// openStamps opens a box whose dispatcher stamp leaves stamps, in an empty file to
// which any user's job may append.
func (l *lab) openStamps(ctx context.Context, settings, keys string) (*box, stamps, error) {
	s := stamps{file: filepath.Join(l.dir, "stamps"), binary: l.program("stamp")}
	if err := os.WriteFile(s.file, nil, 0o600); err != nil {
		return nil, s, err
	}
	if err := os.Chmod(s.file, 0o666); err != nil {
		return nil, s, err
	}
	definition := fmt.Sprintf("command = [%q, %q]\nmax_queue = 0\nqueue_timeout = 0\n%s", s.binary, s.file, keys)
	b, err := l.openInstalled(ctx, settings, map[string]string{"stamp": definition})
	return b, s, err
}

// take reads the stamps and empties the file.
func (s stamps) take() ([]stamp, error) {
	text, err := os.ReadFile(s.file)
	if err != nil {
		return nil, err
	}
	list := make([]stamp, len(text)/binary.Size(stamp{}))
	if err := binary.Read(bytes.NewReader(text), binary.NativeEndian, list); err != nil {
		return nil, err
	}
	return list, os.Truncate(s.file, 0)
}

// await waits until a job has left its stamp, and takes it.
func (s stamps) await(ctx context.Context) (stamp, error) {
	for {
		info, err := os.Stat(s.file)
		if err != nil {
			return stamp{}, err
		}
		if info.Size() >= int64(binary.Size(stamp{})) {
			break
		}
		if err := pause(ctx, time.Millisecond); err != nil {
			return stamp{}, err
		}
	}
	list, err := s.take()
	if err != nil {
		return stamp{}, err
	}
	return list[0], nil
}

// spawn runs a program n times by testdata/spawn.c and gives when each began.
func (l *lab) spawn(ctx context.Context, n int, program ...string) ([]int64, error) {
	cmd := exec.CommandContext(ctx, l.program("spawn"), append([]string{strconv.Itoa(n)}, program...)...)
	cmd.Env = []string{"PATH=/usr/bin:/bin", "DISPATCHD_SERVER_USER=" + nobody}
	var wrong bytes.Buffer
	cmd.Stderr = &wrong
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("spawn %s: %w: %s", filepath.Base(program[0]), err, wrong.String())
	}
	var began []int64
	for field := range strings.FieldsSeq(string(out)) {
		ns, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return nil, err
		}
		began = append(began, ns)
	}
	return began, nil
}
