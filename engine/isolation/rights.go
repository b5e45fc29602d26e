package isolation

import (
	"fmt"
	"slices"
	"strings"

	"berth/container"
)

// other is the container of a mode container:NAME.
func other(mode string) (string, bool) { return strings.CutPrefix(mode, "container:") }

// exposed is what a namespace of the host's opens.
func exposed(kind string) string {
	switch kind {
	case "user":
		return "the host's: root inside is root of the host, bounded by capabilities and seccomp"
	case "net":
		return "the host's: its loopback and its abstract sockets are open to the container"
	case "pid":
		return "the host's: the container sees all processes of it"
	case "ipc":
		return "the host's: shared memory and message queues of it are open"
	case "uts":
		return "the host's: with SYS_ADMIN its name can be changed"
	case "cgroup":
		return "the host's: the container sees where its cgroup is"
	case "mnt":
		return "the host's"
	}
	return "the host's: its clocks are seen"
}

func namespaces(s *Subject, v *view) []Row {
	var rows []Row
	for _, k := range kinds() {
		m := v.namespaces[k.name]
		r := Row{"namespace." + k.name, k.what, m.state, "its own"}
		switch m.state {
		case Partly:
			r.Why = "shared with " + list(m.with)
			if len(m.with) == 0 {
				r.Why = "the user's, which all the user's containers share"
			}
		case No:
			r.Why = exposed(k.name)
			if k.name == "user" && s.Rootless && !v.running {
				r.State, r.Why = Partly, "the user's, which all the user's containers share"
			}
			if why := s.Record.Userns.Reason; k.name == "user" && why != "" {
				r.Why += " (" + why + ")"
			}
		case Yes:
		default:
			r.State, r.Why = Unknown, notSeen(s)
		}
		rows = append(rows, r)
	}
	return rows
}

// notSeen says why nothing is known.
func notSeen(s *Subject) string {
	if s.AskedError != nil {
		return s.AskedError.Error()
	}
	return "/proc does not show it to the caller"
}

func ids(s *Subject, v *view) []Row {
	r := Row{"ids", "Ids of its own", Yes, span(v)}
	user := v.namespaces["user"].state
	switch {
	case v.status == nil:
		r.State, r.Why = Unknown, notSeen(s)
	case user == No && !s.Rootless:
		r.State, r.Why = No, "the host's: its root is the host's"
	case s.Rootless && s.Record.Userns.Part:
		r.Why = "a part of the user's, which no other container has"
	case s.Rootless:
		r.State, r.Why = Partly, "the user's, which all the user's containers share"
		if v.running {
			r.Why += ": " + span(v)
		}
	case !v.running && user == Partly:
		r.State, r.Why = Partly, "those of the container that it joins"
	case !v.running:
		r.Why = "a range that no other container has, from its start on"
	default:
		if names := sameIDs(s, v); len(names) > 0 {
			r.State, r.Why = Partly, span(v)+", as "+list(names)
		}
	}
	return []Row{r}
}

// rights are those of its processes.
func rights(s *Subject, v *view) []Row {
	sec := &s.Record.Config.Security
	p := Row{"privileged", "Not privileged", Yes, ""}
	if sec.Privileged {
		p.State, p.Why = No, "--privileged: all capabilities and devices, no seccomp, nothing masked"
		if v.namespaces["user"].state != No || s.Rootless {
			p.State, p.Why = Partly, p.Why+"; in a user namespace"
		}
	}
	if sec.Nested {
		p.State, p.Why = Partly, "--nested: containers may run inside, with rights over its user namespace alone; nothing of /proc is masked"
	}
	rows := []Row{p, capabilities(s, v), filter(s, v), labelled(s, v)}
	n := Row{"no_new_privs", "No new privileges", Yes, ""}
	switch {
	case v.status == nil:
		n.State, n.Why = Unknown, notSeen(s)
	case !v.status.noNewPrivs:
		n.State, n.Why = No, "su and sudo work inside, as with docker: --security-opt no-new-privileges"
	}
	return append(rows, n)
}

func capabilities(s *Subject, v *view) Row {
	r := Row{"capabilities", "Capabilities of the default, no more", Yes, ""}
	if v.status == nil {
		r.State, r.Why = Unknown, notSeen(s)
		return r
	}
	base := setOf(container.DefaultCaps(s.Record.Config.Image.Dialect))
	has := namesOf(v.status.bounding)
	switch beyond := namesOf(v.status.bounding &^ base); {
	case len(has) == 0:
		r.Why = "none at all"
	case len(beyond) == 0:
		r.Why = fmt.Sprintf("%d: %s", len(has), list(has))
	default:
		r.State, r.Why = No, fmt.Sprintf("beyond it: %s", list(beyond))
		if v.namespaces["user"].state != No || s.Rootless {
			r.State, r.Why = Partly, r.Why+"; over what belongs to its user namespace alone"
		}
	}
	return r
}

func filter(s *Subject, v *view) Row {
	r := Row{"seccomp", "Seccomp", Yes, "docker's profile for its capabilities"}
	asked := s.Record.Config.Security.Seccomp
	if s.Record.Config.Security.Nested {
		r.Why = "docker's profile, with namespaces, mounts and keys let through (--nested)"
	}
	switch asked {
	case "", "default", "builtin", "unconfined":
	default:
		r.Why = "a profile of the user's"
	}
	switch {
	case v.status == nil:
		r.State, r.Why = Unknown, notSeen(s)
	case v.status.seccomp == filtered:
	case s.Record.Config.Security.Privileged && asked == "":
		r.State, r.Why = No, "no filter, as it is privileged"
	case asked == "unconfined":
		r.State, r.Why = No, "no filter: seccomp=unconfined was asked for"
	default:
		r.State, r.Why = No, "no filter"
	}
	return r
}

// labelled tells of the security modules.
func labelled(s *Subject, v *view) Row {
	r := Row{"lsm", "Profile of AppArmor or SELinux", Yes, v.label}
	sec := &s.Record.Config.Security
	asked := ""
	if sec.AppArmor != "" && sec.AppArmor != "unconfined" {
		asked = "apparmor=" + sec.AppArmor + " was asked for: "
	}
	none := v.label == "" || v.label == "unconfined" || strings.HasSuffix(v.label, " (unconfined)")
	if s.SELinux {
		none = s.Record.SELinux.Process == ""
	}
	switch {
	case !none:
		return r
	case s.SELinux:
		r.Why = unlabelled(s, v)
	case asked != "" && !s.AppArmor:
		r.Why = asked + "AppArmor is not active here"
	case asked != "":
		r.Why = asked + v.label
	case !s.AppArmor && v.label == "":
		r.Why = "neither is active here"
	case !s.AppArmor:
		r.Why = v.label
	case sec.AppArmor == "unconfined":
		r.Why = "none: apparmor=unconfined was asked for"
	case sec.Privileged:
		r.Why = "none, as it is privileged"
	case sec.Nested:
		r.Why = "none, as containers may run inside (--nested)"
	default:
		r.Why = "none: berth-default was not loaded when it started, see AppArmor below"
	}
	r.State = No
	return r
}

// unlabelled says why SELinux does not confine it.
func unlabelled(s *Subject, v *view) string {
	c := &s.Record.Config
	why := "it was made when containers got none, see SELinux below"
	switch {
	case slices.Contains(c.Security.Labels, "disable"):
		why = "label=disable was asked for"
	case c.Security.Privileged:
		why = "it is privileged"
	case c.Security.Nested:
		why = "containers may run inside (--nested)"
	case c.Namespaces.PID == "host" || c.Namespaces.IPC == "host":
		why = "it shares the host's processes or memory"
	}
	if v.label == "" {
		return "none: " + why
	}
	return "that of who called berth, " + v.label + ": " + why
}
