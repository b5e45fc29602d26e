package unit

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/godbus/dbus/v5"
)

// wait bounds each request to systemd.
const wait = 30 * time.Second

const (
	busName = "org.freedesktop.systemd1"
	manager = "org.freedesktop.systemd1.Manager"
)

// conn is a connection to one manager.
type conn struct {
	c   *dbus.Conn
	mgr dbus.BusObject
}

// dial tries the manager's addresses in order: systemd's own socket, which only
// its user may use and which needs no bus daemon, then the bus.
func dial(ctx context.Context, user bool) (*conn, error) {
	var errs []error
	for _, addr := range addresses(user, os.Getenv, os.Getuid()) {
		c, err := dialOne(ctx, addr)
		if err == nil {
			return c, nil
		}
		errs = append(errs, fmt.Errorf("%s: %w", addr, err))
	}
	if user {
		return nil, fmt.Errorf("no systemd user session for the systemd cgroup driver (log in, or `loginctl enable-linger`): %w", errors.Join(errs...))
	}
	return nil, fmt.Errorf("no systemd for the systemd cgroup driver: %w", errors.Join(errs...))
}

// addresses lists where the manager listens.
func addresses(user bool, env func(string) string, uid int) []string {
	path := func(p string) string { return "unix:path=" + (&url.URL{Path: p}).EscapedPath() }
	if !user {
		out := []string{path("/run/systemd/private")}
		if a := env("DBUS_SYSTEM_BUS_ADDRESS"); a != "" {
			return append(out, a)
		}
		return append(out, path("/run/dbus/system_bus_socket"), path("/var/run/dbus/system_bus_socket"))
	}
	var out []string
	dir := env("XDG_RUNTIME_DIR")
	if dir != "" {
		out = append(out, path(dir+"/systemd/private"))
	}
	if a := env("DBUS_SESSION_BUS_ADDRESS"); a != "" {
		out = append(out, a)
	}
	if dir != "" {
		out = append(out, path(dir+"/bus"))
	}
	if own := "/run/user/" + strconv.Itoa(outerUID(uid)); own != dir {
		out = append(out, path(own+"/systemd/private"), path(own+"/bus"))
	}
	return out
}

func dialOne(ctx context.Context, addr string) (*conn, error) {
	// Only local sockets: the address comes from the environment and godbus
	// would also start programs (unixexec:) or dial out.
	for a := range strings.SplitSeq(addr, ";") {
		if !strings.HasPrefix(a, "unix:") {
			return nil, errors.New("not a unix socket")
		}
	}
	c, err := dbus.Dial(addr, dbus.WithContext(context.WithoutCancel(ctx)))
	if err != nil {
		return nil, err
	}
	if err := c.Auth([]dbus.Auth{dbus.AuthExternal(strconv.Itoa(outerUID(os.Getuid())))}); err != nil {
		c.Close()
		return nil, fmt.Errorf("authenticate: %w", err)
	}
	private := strings.HasSuffix(addr, "/systemd/private")
	out := &conn{c: c, mgr: c.Object(busName, "/org/freedesktop/systemd1")}
	if private {
		return out, nil // one to one: no name, no matches, all signals come
	}
	err = c.Hello()
	if err == nil {
		err = c.AddMatchSignalContext(ctx, dbus.WithMatchInterface(manager), dbus.WithMatchMember("JobRemoved"))
	}
	if err == nil {
		err = out.mgr.CallWithContext(ctx, manager+".Subscribe", 0).Err
	}
	if err != nil {
		c.Close()
		return nil, err
	}
	return out, nil
}

// outerUID is the uid that the bus sees at the other end of the socket: inside a
// user namespace the one that ours is mapped to.
func outerUID(uid int) int {
	b, err := os.ReadFile("/proc/self/uid_map")
	if err != nil || len(b) > 1<<16 {
		return uid
	}
	for line := range strings.SplitSeq(string(b), "\n") {
		f := strings.Fields(line)
		if len(f) != 3 {
			continue
		}
		in, err1 := strconv.ParseInt(f[0], 10, 64)
		out, err2 := strconv.ParseInt(f[1], 10, 64)
		n, err3 := strconv.ParseInt(f[2], 10, 64)
		if err1 == nil && err2 == nil && err3 == nil && int64(uid) >= in && int64(uid) < in+n {
			return int(out + int64(uid) - in)
		}
	}
	return uid
}

// job calls a method that starts a job and waits for its end.
func (c *conn) job(ctx context.Context, method string, args ...any) error {
	ch := make(chan *dbus.Signal, 64)
	c.c.Signal(ch)
	defer c.c.RemoveSignal(ch)
	var path dbus.ObjectPath
	if err := c.mgr.CallWithContext(ctx, manager+"."+method, 0, args...).Store(&path); err != nil {
		return err
	}
	for {
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for systemd's job: %w", ctx.Err())
		case s, ok := <-ch:
			if !ok {
				return errors.New("systemd closed the connection")
			}
			if s.Name != manager+".JobRemoved" || len(s.Body) < 4 || s.Body[1] != path {
				continue
			}
			if result, _ := s.Body[3].(string); result != "done" {
				return fmt.Errorf("systemd's job ended as %q", result)
			}
			return nil
		}
	}
}

// Start makes the unit with process pid in it and returns its cgroup, below the
// mount. A failed unit that is left over under the same name is reset once.
func (s *Scope) Start(ctx context.Context, pid int) (group string, err error) {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	c, err := dial(ctx, s.User)
	if err != nil {
		return "", err
	}
	defer c.c.Close()
	props := s.Props
	if pid > 0 {
		props = append(props[:len(props):len(props)], Property{"PIDs", []uint32{uint32(pid)}})
	}
	type aux struct {
		Name  string
		Props []variant
	}
	start := func() error {
		return c.job(ctx, "StartTransientUnit", s.Name, "replace", variants(props), []aux{})
	}
	if err = start(); isError(err, "UnitExists") {
		_ = c.mgr.CallWithContext(ctx, manager+".ResetFailedUnit", 0, s.Name).Err
		err = start()
	}
	if err != nil {
		return "", fmt.Errorf("start unit %s: %w", s.Name, err)
	}
	if group, err = c.controlGroup(ctx, s.Name); err != nil {
		return "", fmt.Errorf("find cgroup of unit %s: %w", s.Name, err)
	}
	return group, nil
}

func (c *conn) controlGroup(ctx context.Context, name string) (string, error) {
	var path dbus.ObjectPath
	if err := c.mgr.CallWithContext(ctx, manager+".GetUnit", 0, name).Store(&path); err != nil {
		return "", err
	}
	kind := "Scope"
	if strings.HasSuffix(name, ".slice") {
		kind = "Slice"
	}
	var v dbus.Variant
	err := c.c.Object(busName, path).CallWithContext(ctx, "org.freedesktop.DBus.Properties.Get", 0, busName+"."+kind, "ControlGroup").Store(&v)
	if err != nil {
		return "", err
	}
	group, _ := v.Value().(string)
	if group == "" || group == "/" {
		return "", errors.New("systemd names none; it may have ended already")
	}
	return group, nil
}

// Set changes properties of the running unit until it stops.
func (s *Scope) Set(ctx context.Context, props []Property) error {
	if len(props) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	c, err := dial(ctx, s.User)
	if err != nil {
		return err
	}
	defer c.c.Close()
	if err := c.mgr.CallWithContext(ctx, manager+".SetUnitProperties", 0, s.Name, true, variants(props)).Err; err != nil {
		return fmt.Errorf("change unit %s: %w", s.Name, err)
	}
	return nil
}

// Stop ends the unit with all that is in it, and forgets it if it failed. A unit
// that is gone is no error.
func (s *Scope) Stop(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	c, err := dial(ctx, s.User)
	if err != nil {
		return err
	}
	defer c.c.Close()
	err = c.job(ctx, "StopUnit", s.Name, "replace")
	if isError(err, "NoSuchUnit") {
		err = nil
	}
	_ = c.mgr.CallWithContext(ctx, manager+".ResetFailedUnit", 0, s.Name).Err
	if err != nil {
		return fmt.Errorf("stop unit %s: %w", s.Name, err)
	}
	return nil
}

func isError(err error, name string) bool {
	var e dbus.Error
	return errors.As(err, &e) && e.Name == busName+"."+name
}

// variant is a property on the wire, D-Bus type (sv).
type variant struct {
	Name  string
	Value dbus.Variant
}

func variants(props []Property) []variant {
	out := make([]variant, len(props))
	for i, p := range props {
		out[i] = variant{p.Name, dbus.MakeVariant(p.Value)}
	}
	return out
}

// Reachable reports whether the user's manager answers.
func Reachable(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	c, err := dial(ctx, true)
	if err != nil {
		return false
	}
	c.c.Close()
	return true
}
