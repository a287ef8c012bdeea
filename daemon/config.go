package daemon

import (
	"log/slog"
	"os"
	"time"

	"dispatchd/daemon/internal/durable"
	"dispatchd/daemon/internal/store"
	"dispatchd/dispatchers"
	"dispatchd/ipc"
)

// loadSettings reads the settings. The error says what is wrong in them first.
func loadSettings(p ipc.Paths) (dispatchers.Settings, error) {
	settings, faults := dispatchers.LoadSettings(p.Config)
	if len(faults) > 0 {
		return settings, ipc.Errorf(ipc.KindConfiguration, "%s", faults[0].Render())
	}
	return settings, nil
}

// Config says what a daemon is made of. Only Paths is required.
type Config struct {
	Paths     ipc.Paths
	Functions *dispatchers.Set // Go-native dispatchers, nil = none
	Log       *slog.Logger     // nil = slog.Default()
	Version   string
	Shim      []string         // argv of a program that calls RunShim at once; nil = jobs are children of the daemon and die with it
	Upgrade   []string         // argv of this program, for an upgrade in place; nil = there is none
	UpgradeOn <-chan os.Signal // has one done, nil = the API only
	ReloadOn  <-chan os.Signal // has the definitions read anew, nil = the API only
	Ready     func()           // called once when the socket answers, nil = nobody asks

	wall  func() time.Time      // nil = time.Now; another in tests of clocks that are set
	allow func(query) error     // nil = allow; another in tests of who asks it
	disk  func(durable.Journal) // gets the journal in tests that hold it up

	room func(dir string) (store.Room, error) // nil = store.RoomAt; another in tests of full disks
}
