package docker

import (
	"fmt"
	"regexp"
	"strings"
)

// normal takes out of a group's texts what two runs of one program would
// differ in, and what is only the names of Docker's parts:
//
//   - ids and generated names, each replaced by a number in the order in which
//     they are seen; images keep theirs, they are the same;
//   - times, ages, sizes of writable layers, process ids, the ports of the machine;
//   - the folders of the two sides, and the width of columns;
//   - the line of a pull that depends on the moment;
//   - a line of the daemon's log that docker's client prints when it loses a race
//     with the daemon;
//   - the Go types that templates name, the system call that runc names, and the
//     repository that newer versions of Docker name;
//   - the chain of programs through which Docker's errors came (shim task, OCI
//     runtime, runc), and "unknown" at their end: that is the kind of error.
type normal struct {
	s   *side
	ids map[string]string
}

func newNormal(s *side) *normal { return &normal{s: s, ids: map[string]string{}} }

var (
	longID  = regexp.MustCompile(`\b[0-9a-f]{64}\b`)
	shortID = regexp.MustCompile(`\b[0-9a-f]{12}\b`)
	rules   = []struct {
		match *regexp.Regexp
		with  string
	}{
		{regexp.MustCompile(`(failed to create shim task: )?OCI runtime (create|exec|update|start) failed: (runc (create|start) failed: )?(runc did not terminate successfully: exit status \d+: )?(unable to start container process: )?(exec failed: )?(unable to start container process: )?`), ""},
		{regexp.MustCompile(`(starting|running) setns process caused: `), ""},
		{regexp.MustCompile(`: unknown(\.?)(\n|$)`), "$1$2"},
		{regexp.MustCompile(`\b(20\d\d-\d\d-\d\d)[T ]\d\d:\d\d:\d\d(\.\d+)?( ?(Z|[+-]\d\d:?\d\d))?( UTC)?`), "TIME"},
		{regexp.MustCompile(`(About an?|Less than a|\b\d+) (second|minute|hour|day|week|month|year)s?( ago)?`), "AGE"},
		{regexp.MustCompile(`\b[0-9.]+ ?([kMG]?B)\b`), "SIZE"},
		{regexp.MustCompile(`(?m)^time="TIME" level=error msg="error waiting for container: context canceled" *\n`), ""},
		{regexp.MustCompile(`(?m)^.*: Verifying Checksum\n`), ""},
		{regexp.MustCompile(`driver failed programming external connectivity on endpoint \w+ \(\S+\): `), ""},
		{regexp.MustCompile(`network endpoints: none, host\b`), "network endpoints: host, none"}, // of a map
		{regexp.MustCompile(`in type \S+`), "in type TYPE"},
		{regexp.MustCompile(`: stat \S+: no such file`), ": no such file"},
		{regexp.MustCompile(`repository name \(\S.*\) must`), "repository name must"},
		{regexp.MustCompile(`error setting cgroup config for procHooks process: `), ""},
		{regexp.MustCompile(`"Pid": [1-9]\d*`), `"Pid": PID`},
		{regexp.MustCompile(`"time(Nano)?":\d+`), `"time$1":TIME`},
		{regexp.MustCompile(`(?m)^\d+ +(\w+ +\w+ \d+)$`), "PID  $1"}, // of top; before ports, as one may look like the other
		{regexp.MustCompile(`\b18[01](\d\d)\b`), "PORT$1"},
		{regexp.MustCompile(`  +`), "  "},
		{regexp.MustCompile(` +\n`), "\n"},
		{regexp.MustCompile(`(AGE|SIZE) +`), "$1 "},
	}
)

// outcome is one line's, in the order of the lines.
func (n *normal) outcome(o outcome) outcome {
	return outcome{n.text(o.stdout), n.text(o.stderr), o.code}
}

func (n *normal) text(s string) string {
	s = strings.ReplaceAll(s, n.s.dir+"/work", "WORK")
	s = strings.ReplaceAll(s, n.s.root, "ROOT")
	s = strings.ReplaceAll(s, n.s.dir, "DIR")
	s = longID.ReplaceAllStringFunc(s, n.id)
	s = shortID.ReplaceAllStringFunc(s, n.id)
	for _, r := range rules {
		s = r.match.ReplaceAllString(s, r.with)
	}
	return s
}

// id numbers ids by the twelve digits that both forms have.
func (n *normal) id(s string) string {
	if n.s.images[s[:12]] || strings.Trim(s, "0123456789") == "" && len(s) == 12 {
		return s
	}
	if n.ids[s[:12]] == "" {
		n.ids[s[:12]] = fmt.Sprintf("ID%d", len(n.ids)+1)
	}
	if len(s) == 64 {
		return n.ids[s[:12]] + "-LONG"
	}
	return n.ids[s[:12]]
}
