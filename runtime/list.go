package runtime

import (
	"os"
	"os/user"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"berth/base/ids"
)

// State returns what is known of one container.
func (rt *Runtime) State(id string) (*State, error) {
	rt.begin()
	c, err := rt.open(id, false)
	if err != nil {
		return nil, err
	}
	defer c.close()
	return c.fullState(), nil
}

// List returns the state of every container, ordered by id. A folder that
// cannot be read is one bad container: it is warned of and left out.
func (rt *Runtime) List() ([]State, error) {
	rt.begin()
	entries, err := os.ReadDir(rt.Root)
	if os.IsNotExist(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	list := make([]State, 0, len(entries))
	for _, e := range entries {
		if _, err := ids.Parse(e.Name()); err != nil || !e.IsDir() || strings.HasPrefix(e.Name(), ".") {
			continue
		}
		s, err := rt.State(e.Name())
		if err != nil {
			rt.Warn("%v", err)
			continue
		}
		list = append(list, *s)
	}
	return list, nil
}

// state is the runtime-spec state with a given status.
func (c *container) state(status specs.ContainerState) *specs.State {
	s := &specs.State{Version: specs.Version, ID: c.id, Status: status}
	if c.rec != nil {
		s.Bundle, s.Annotations = c.rec.Bundle, c.rec.Annots
		if status != specs.StateStopped {
			s.Pid = c.rec.PID
		}
	}
	return s
}

func (c *container) fullState() *State {
	status := c.status()
	if status == specs.StateRunning && c.paused() {
		status = "paused" // runc's word, not the spec's
	}
	s := &State{State: *c.state(status)}
	if c.rec != nil {
		s.Rootfs, s.Created = c.rec.Rootfs, c.rec.Created
		s.Owner = ownerName(c.rec.Owner)
	}
	return s
}

func ownerName(uid int) string {
	if uid == 0 {
		return "root"
	}
	id := strconv.Itoa(uid)
	u, err := user.LookupId(id)
	if err != nil {
		return "#" + id
	}
	return u.Username
}
