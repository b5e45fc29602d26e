package main

import (
	"slices"
	"strings"
)

// outside is the row of folders that are no part of the programs.
const outside = -1

// rowOf names the row of each top-level folder. A folder that is not here has
// no place in the house yet: add it together with its reason in docs/terms.md.
var rowOf = map[string]int{
	"base": 0,
	"sys":  1,

	"runtime": 2, "vm": 2, "files": 2,

	"container": 3, "image": 3, "network": 3, "volume": 3, "settings": 3, "secret": 3,

	"monitor": 4, "build": 4, "system": 4, "rootless": 4,

	"engine": 5,

	"cli": 6, "api": 6, "kube": 6,

	"cmd": 7,

	"test": outside, "tools": outside,
}

// streets have no root package: each folder inside them is a room.
var streets = []string{"base", "sys", "cli", "api", "kube", "cmd"}

// secondDoor is a package below a room's root that others may import as well.
type secondDoor struct {
	pkg  string
	from func(importer place) bool
}

var secondDoors = []secondDoor{
	{"container/config", func(p place) bool { return p.row >= 4 }},
	{"runtime/initproc", func(p place) bool { return p.room == "monitor" || p.room == "cmd/berth-helper" }},
	{"runtime/reaper", func(p place) bool { return p.room == "cmd/berth-helper" }},
	{"monitor/serve", func(p place) bool { return p.room == "cmd/berth-helper" }},
	{"network/dhcp", func(p place) bool { return p.room == "cmd/berth-helper" }},
	{"network/names", func(p place) bool { return p.room == "cmd/berth-helper" }},
	{"network/relay", func(p place) bool { return p.room == "cmd/berth-helper" }},
	{"rootless/hold", func(p place) bool { return p.room == "cmd/berth-helper" }},
	{"rootless/uplink", func(p place) bool { return p.room == "cmd/berth-uplink" }},
	{"api/docker/wire", func(p place) bool { return p.room == "cli/docker" }},
}

// place is where a package stands.
type place struct {
	pkg    string // runtime/cgroup
	street string // runtime
	room   string // runtime, or sys/mount
	row    int
	known  bool
}

// placeOf finds the place of a package folder.
func placeOf(pkg string) place {
	parts := strings.Split(pkg, "/")
	p := place{pkg: pkg, street: parts[0], room: parts[0]}
	p.row, p.known = rowOf[parts[0]]
	if slices.Contains(streets, parts[0]) {
		if len(parts) == 1 {
			p.known = false
		} else {
			p.room = parts[0] + "/" + parts[1]
		}
	}
	return p
}

// isDoor reports whether pkg is the root package of its room.
func (p place) isDoor() bool { return p.pkg == p.room }
