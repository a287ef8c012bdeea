package cli

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
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

// Fifty clients write a configuration and ask for a real nginx to take it, while
// nothing may start: one run is for all of them, and the last configuration wins.
func TestNginx(t *testing.T) {
	t.Parallel()
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
`, b.Dir, port, n)
	}
	t.Cleanup(func() { _ = exec.Command(nginx, "-s", "stop", "-c", b.Path("nginx.conf")).Run() })
	b.Write("nginx.conf", conf(0))
	if job := b.Await(b.Notify("web", "").ID); job.State != ipc.Succeeded {
		t.Fatalf("first: %s %+v", job.State, job.Error)
	}
	var mu sync.Mutex
	last := 0
	if _, err := b.Client.Pause(t.Context(), "web", true); err != nil {
		t.Fatal(err)
	}
	var wg, asked sync.WaitGroup
	asked.Add(50)
	for range 50 {
		wg.Go(func() {
			mu.Lock()
			last++
			temp := fmt.Sprintf("nginx.conf.%d", last)
			b.Write(temp, conf(last))
			err := os.Rename(b.Path(temp), b.Path("nginx.conf"))
			mu.Unlock()
			if err != nil {
				t.Error(err)
			}
			n, err := b.Client.Notify(t.Context(), ipc.NotifyRequest{Dispatcher: "web"})
			asked.Done()
			if err != nil {
				t.Error(err)
				return
			}
			if job := b.Await(n.ID); job.State != ipc.Succeeded {
				t.Errorf("job %s: %s %+v", job.ID, job.State, job.Error)
			}
		})
	}
	asked.Wait()
	if _, err := b.Client.Pause(t.Context(), "web", false); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	if runs := b.Read("runs"); runs != "run\nrun\n" {
		t.Errorf("runs %q, want one for fifty clients", runs)
	}
	for served := ""; served != "version 50\n"; { // a reload takes effect when nginx's new worker is there
		resp, err := http.Get("http://127.0.0.1:" + port + "/")
		if err != nil {
			continue
		}
		text, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		http.DefaultClient.CloseIdleConnections()
		served = string(text)
	}
}
