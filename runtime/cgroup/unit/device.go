package unit

import (
	"strconv"
	"strings"

	"berth/runtime/cgroup/devfilter"
)

// Majors names device drivers by "c 136" and the like.
type Majors map[string]string

// ParseMajors reads /proc/devices.
func ParseMajors(text []byte) Majors {
	out := Majors{}
	kind := ""
	for line := range strings.SplitSeq(string(text), "\n") {
		switch line {
		case "Character devices:":
			kind = "c "
			continue
		case "Block devices:":
			kind = "b "
			continue
		}
		f := strings.Fields(line)
		if kind == "" || len(f) != 2 || strings.ContainsAny(f[1], "*?[") {
			continue
		}
		if _, err := strconv.ParseUint(f[0], 10, 12); err == nil && out[kind+f[0]] == "" {
			out[kind+f[0]] = f[1]
		}
	}
	return out
}

// allow is one entry of DeviceAllow, D-Bus type (ss).
type allow struct {
	Node, Access string
}

// devices gives systemd the same rules as far as it can say them. It enforces
// them beside our own filter, and an access needs the consent of both, so where
// it cannot be exact it is given more, never less: a number without its driver's
// name in /proc/devices cannot be opened anyway.
func devices(rules []devfilter.Rule, majors Majors) []Property {
	start, rest := devfilter.Reduce(rules)
	if start {
		// A list of denials is not systemd's; it must not stand in the way.
		return []Property{{"DevicePolicy", "auto"}, {"DeviceAllow", []allow{}}}
	}
	list := []allow{}
	for _, r := range rest {
		if !r.Allow {
			continue
		}
		for _, kind := range []struct {
			letter byte
			word   string
		}{{'c', "char"}, {'b', "block"}} {
			if r.Type != 'a' && r.Type != kind.letter {
				continue
			}
			major := strconv.FormatInt(r.Major, 10)
			node := "/dev/" + kind.word + "/" + major + ":" + strconv.FormatInt(r.Minor, 10)
			switch {
			case r.Major == devfilter.Any:
				node = kind.word + "-*"
			case r.Minor == devfilter.Any:
				name := majors[string(kind.letter)+" "+major]
				if name == "" {
					continue
				}
				node = kind.word + "-" + name
			}
			list = append(list, allow{node, r.Letters()})
		}
	}
	return []Property{{"DevicePolicy", "strict"}, {"DeviceAllow", list}}
}
