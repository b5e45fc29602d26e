package isolation

import (
	"errors"
	"fmt"
	"math/bits"
	"os"
	"slices"
	"strconv"
	"strings"

	"berth/runtime"
)

// status is a part of /proc/PID/status, proc_pid_status(5).
type status struct {
	bounding, effective uint64
	seccomp             int
	noNewPrivs          bool
}

// filtered is the number of Seccomp: for a process with a filter.
const filtered = 2

var errStatus = errors.New("not the form of proc_pid_status(5)")

// parseStatus reads it; the process's name, which may hold line breaks as escapes
// alone, is on a line of its own.
func parseStatus(s string) (*status, error) {
	out, found := &status{}, 0
	for line := range strings.Lines(s) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		value = strings.TrimSpace(value)
		var err error
		switch key {
		case "CapBnd":
			out.bounding, err = strconv.ParseUint(value, 16, 64)
		case "CapEff":
			out.effective, err = strconv.ParseUint(value, 16, 64)
		case "Seccomp":
			out.seccomp, err = strconv.Atoi(value)
		case "NoNewPrivs":
			out.noNewPrivs = value == "1"
		default:
			continue
		}
		if err != nil {
			return nil, errStatus
		}
		found++
	}
	if found < 3 { // a kernel without seccomp has no line of it
		return nil, errStatus
	}
	return out, nil
}

// setOf is a set of capabilities by their names.
func setOf(names []string) (set uint64) {
	for i, name := range runtime.Capabilities() {
		if slices.Contains(names, name) {
			set |= 1 << i
		}
	}
	return set
}

// namesOf is the other way round, without CAP_.
func namesOf(set uint64) (names []string) {
	all := runtime.Capabilities()
	for ; set != 0; set &= set - 1 {
		i := bits.TrailingZeros64(set)
		if i >= len(all) {
			names = append(names, strconv.Itoa(i))
			continue
		}
		names = append(names, strings.TrimPrefix(all[i], "CAP_"))
	}
	return names
}

// seen looks at the first process; nil: it has ended.
func seen(s *Subject) *view {
	dir := "/proc/" + strconv.Itoa(s.PID)
	v := &view{running: true, namespaces: map[string]membership{}, limits: seenLimits(s)}
	t, ok := text(dir + "/status")
	if !ok {
		return nil
	}
	v.status, _ = parseStatus(t)
	if t, ok = text(dir + "/mountinfo"); ok {
		v.mounts = parseMounts(t)
	}
	v.label, _ = text(dir + "/attr/current")
	v.label = strings.TrimRight(v.label, "\x00")
	for _, k := range kinds() {
		v.namespaces[k.name] = whose(s, k.name)
	}
	if uids, _, err := runtime.MapsOf(s.PID); err == nil {
		v.uids = uids
	}
	return v
}

// whose tells whose a namespace of the first process is.
func whose(s *Subject, kind string) membership {
	link := func(pid string) string {
		name, err := os.Readlink("/proc/" + pid + "/ns/" + kind)
		if err != nil {
			return ""
		}
		return name
	}
	own := link(strconv.Itoa(s.PID))
	if own == "" {
		return membership{state: Unknown}
	}
	if own == link("self") {
		// What a user's berth is in, is the user's; else it is the host's.
		return membership{state: when(kind == "user" && s.Rootless, Partly, No)}
	}
	m := membership{state: Yes}
	for _, o := range s.Others {
		if link(strconv.Itoa(o.PID)) == own {
			m.state, m.with = Partly, append(m.with, o.Name)
		}
	}
	return m
}

// sameIDs are the containers that have one of the same ids of the host.
func sameIDs(s *Subject, v *view) (names []string) {
	for _, o := range s.Others {
		uids, _, err := runtime.MapsOf(o.PID)
		if err != nil {
			continue
		}
		overlap := false
		for _, a := range uids {
			for _, b := range v.uids {
				overlap = overlap || uint64(a.HostID) < uint64(b.HostID)+uint64(b.Size) && uint64(b.HostID) < uint64(a.HostID)+uint64(a.Size)
			}
		}
		if overlap {
			names = append(names, o.Name)
		}
	}
	return names
}

// span writes the largest mapping.
func span(v *view) string {
	if len(v.uids) == 0 {
		return ""
	}
	big := v.uids[0]
	for _, m := range v.uids {
		if m.Size > big.Size {
			big = m
		}
	}
	if big.Size == 1 {
		return fmt.Sprintf("the id %d of the host", big.HostID)
	}
	return fmt.Sprintf("%d to %d of the host", big.HostID, uint64(big.HostID)+uint64(big.Size)-1)
}
