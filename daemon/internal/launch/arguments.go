package launch

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"dispatchd/daemon/internal/proc"
)

// WriteArguments writes the arguments file of a launch, readable for the job's
// user alone. A launch without one is left as it is. A file that an earlier try
// of the same attempt left there is replaced: O_EXCL refuses to write through a
// link or into a file that somebody else has open.
func WriteArguments(l proc.Launch, args json.RawMessage) error {
	if l.ArgsFile == "" {
		return nil
	}
	_ = os.Remove(l.ArgsFile)
	f, err := os.OpenFile(l.ArgsFile, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("arguments file: %w", err)
	}
	_, err = f.Write(args)
	if c := l.Credential; err == nil && c != nil {
		err = f.Chown(int(c.UID), int(c.GID))
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("arguments file: %w", err)
	}
	return nil
}

// RemoveFiles removes the files that were made for a launch that does not come
// to be. The log stays: earlier attempts may have written to it.
func RemoveFiles(l proc.Launch) {
	for _, path := range []string{l.ArgsFile, l.DataFile} {
		if path != "" {
			_ = os.Remove(path)
		}
	}
}
