package rootless

import (
	"fmt"
	"os"
	"os/user"
	"strconv"

	"berth/container"
	"berth/runtime"
)

// Who reads who the user is and what ids the namespace has.
func Who() (*container.Person, error) {
	uids, gids, err := runtime.MapsOf(os.Getpid())
	if err != nil {
		return nil, fmt.Errorf("read the user's ids: %w", err)
	}
	p := &container.Person{UIDs: uids, GIDs: gids, Home: os.Getenv("HOME")}
	p.UID, _ = runtime.HostID(uids, 0)
	p.GID, _ = runtime.HostID(gids, 0)
	p.Name = strconv.FormatUint(uint64(p.UID), 10)
	if u, err := user.LookupId(p.Name); err == nil {
		p.Name, p.Home = u.Username, u.HomeDir
	}
	return p, nil
}
