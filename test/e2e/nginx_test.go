package e2e

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"dispatchd/ipc"
)

// freePort is a port of loopback that nobody listens on now.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
}

// Fifty clients write a configuration and ask for a real nginx to take it: at
// most two runs follow the first, and the last configuration wins.
func TestNginx(t *testing.T) {
	nginx := "/usr/sbin/nginx"
	if _, err := os.Stat(nginx); err != nil {
		t.Skip("nginx is not installed")
	}
	b := newBox(t, map[string]string{"web": `
description = "takes a new nginx configuration into service"
coalesce = true
script = '''
echo run >> $BOX/runs
/usr/sbin/nginx -t -q -c $BOX/nginx.conf
if [ -s $BOX/nginx.pid ]; then /usr/sbin/nginx -s reload -c $BOX/nginx.conf; else /usr/sbin/nginx -c $BOX/nginx.conf; fi
'''
`})
	port := freePort(t)
	conf := func(n int) string {
		return fmt.Sprintf(`pid %[1]s/nginx.pid; error_log %[1]s/error.log; worker_processes 1;
events {} http { access_log off; server { listen 127.0.0.1:%[2]s; return 200 "version %[3]d\n"; } }
`, b.dir, port, n)
	}
	t.Cleanup(func() { _ = exec.Command(nginx, "-s", "stop", "-c", filepath.Join(b.dir, "nginx.conf")).Run() })
	b.write("nginx.conf", conf(0))
	if job := b.await(b.notify("web", "").ID); job.State != ipc.Succeeded {
		t.Fatalf("first: %s %+v", job.State, job.Error)
	}
	var mu sync.Mutex
	last := 0
	var wg, wrote sync.WaitGroup
	wrote.Add(50)
	for range 50 {
		wg.Go(func() {
			mu.Lock()
			last++
			temp := fmt.Sprintf("nginx.conf.%d", last)
			b.write(temp, conf(last))
			err := os.Rename(filepath.Join(b.dir, temp), filepath.Join(b.dir, "nginx.conf"))
			mu.Unlock()
			wrote.Done()
			wrote.Wait() // then all ask at once
			if err != nil {
				t.Error(err)
				return
			}
			if job := b.await(b.notify("web", "").ID); job.State != ipc.Succeeded {
				t.Errorf("job %s: %s %+v", job.ID, job.State, job.Error)
			}
		})
	}
	wg.Wait()
	if runs := strings.Count(b.read("runs"), "run"); runs > 4 {
		t.Errorf("%d runs for 50 clients at once", runs)
	}
	served := ""
	for range 200 { // a reload takes effect when nginx's new worker is there
		resp, err := http.Get("http://127.0.0.1:" + port + "/")
		if err != nil {
			continue
		}
		text, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		http.DefaultClient.CloseIdleConnections()
		if served = string(text); served == "version 50\n" {
			return
		}
	}
	t.Errorf("nginx serves %q", served)
}
