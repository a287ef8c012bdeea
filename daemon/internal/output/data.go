package output

import (
	"errors"

	"golang.org/x/sys/unix"
)

// Data is what a refresh of a cache prints: its middle cannot be left out, so of
// what is too long one byte more than the bound is kept, which tells whoever reads
// it. It belongs to one goroutine.
type Data struct {
	fd   int
	max  int64 // 0 = no bound
	size int64
	err  error // of the first write that failed: the data is not whole
}

// OpenData opens a file for data.
func OpenData(path string, max int64) (*Data, error) {
	fd, err := openRegular(path, unix.O_WRONLY|unix.O_APPEND|unix.O_CREAT)
	if err != nil {
		return nil, err
	}
	d := &Data{fd: fd, max: max}
	d.size, d.err = unix.Seek(fd, 0, unix.SEEK_END)
	return d, nil
}

// Write appends what came, up to the bound.
func (d *Data) Write(p []byte) {
	if d.max > 0 {
		p = p[:max(0, min(int64(len(p)), d.max+1-d.size))]
	}
	for len(p) > 0 && d.err == nil && d.fd >= 0 {
		n, err := unix.Write(d.fd, p)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			d.err = err
		default:
			d.size += int64(n)
			p = p[n:]
		}
	}
}

// Close gives the file back. What comes later is nobody's.
func (d *Data) Close() {
	if d.fd >= 0 {
		_ = unix.Close(d.fd)
		d.fd = -1
	}
}
