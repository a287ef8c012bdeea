package daemon

import (
	"os"
	"testing"
)

// A daemon that a job has restarted keeps nothing of the job's environment; one that
// its service manager started keeps the manager's socket.
func TestForgetJob(t *testing.T) {
	set := map[string]string{"DISPATCHD_SOCKET": "/s", "DISPATCHD_ARG_X": "1", "NOTIFY_SOCKET": "/n", handoverEnv: "9", "PATH": os.Getenv("PATH")}
	for name, value := range set {
		t.Setenv(name, value)
	}
	t.Setenv("DISPATCHD_JOB_ID", "")
	forgetJob()
	if os.Getenv("NOTIFY_SOCKET") != "/n" || os.Getenv("DISPATCHD_SOCKET") != "/s" {
		t.Error("without a job something was taken out")
	}
	t.Setenv("DISPATCHD_JOB_ID", "01JOB")
	forgetJob()
	for _, name := range []string{"DISPATCHD_JOB_ID", "DISPATCHD_SOCKET", "DISPATCHD_ARG_X", "NOTIFY_SOCKET"} {
		if value, left := os.LookupEnv(name); left {
			t.Errorf("%s=%s is left", name, value)
		}
	}
	if os.Getenv(handoverEnv) != "9" || os.Getenv("PATH") == "" {
		t.Error("what is not the job's was taken out")
	}
}
