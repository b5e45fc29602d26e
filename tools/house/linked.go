package main

import (
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
)

// barredLink says what a program must not link, and why. What lies below a
// path is barred with it.
var barredLink = map[string]map[string]string{
	"berth": {
		"github.com/moby/buildkit":   "BuildKit belongs to berthd: linking costs start-up linearly",
		"google.golang.org/grpc":     "gRPC belongs to berthd: linking costs start-up linearly",
		"google.golang.org/protobuf": "it builds its tables at start, 0.8 ms for each command: containerd's mounts and snapshots are image/containerd's",
		"go.etcd.io/bbolt":           "no database in berth: its state is plain files",
		"gvisor.dev/gvisor":          "the network stack is berth-uplink's: linking costs start-up linearly",
	},
	"berth-helper": {
		"fmt":           "the helper starts with every container: errors there are joined strings",
		"encoding/json": "the helper starts with every container: plans have a wire form of their own",
	},
	"berth-oci": {
		"github.com/moby/buildkit":            "BuildKit belongs to berthd",
		"google.golang.org/grpc":              "gRPC belongs to berthd",
		"go.etcd.io/bbolt":                    "no database in berth: its state is plain files",
		"gvisor.dev/gvisor":                   "the network stack is berth-uplink's",
		"github.com/distribution/reference":   "it compiles regular expressions at start, 0.4 ms for each run",
		"github.com/opencontainers/go-digest": "it compiles regular expressions at start",
		"net/http":                            "the runtime speaks to nobody by HTTP, and it costs 0.5 ms at start",
	},
}

// helperLinks is all that the helper may link beside the standard library: the
// process that enters a container holds no parent side and no engine.
var helperLinks = []string{
	"golang.org/x/sys", "golang.org/x/net/dns/dnsmessage",
	"berth/base", "berth/sys", "berth/runtime/initproc", "berth/runtime/reaper", "berth/runtime/caps", "berth/runtime/account", "berth/monitor", "berth/network/dhcp", "berth/network/names", "berth/network/relay", "berth/rootless/hold",
	"berth/cmd/berth-helper",
}

// checkLinked asks the go command what each program links.
func checkLinked(root string) []finding {
	var out []finding
	programs, _ := filepath.Glob(filepath.Join(root, "cmd", "*", "main.go"))
	for _, main := range programs {
		program := path.Base(filepath.Dir(main))
		deps, err := linkedPackages(root, program)
		at := finding{file: "cmd/" + program + "/main.go", line: 1}
		if err != nil {
			at.rule, at.reason = "linked", err.Error()
			out = append(out, at)
			continue
		}
		said := map[string]bool{} // one line for a reason, not one for each package
		for _, d := range deps {
			if bad, ok := judgeLink(program, d); ok && !said[bad.reason] {
				said[bad.reason] = true
				bad.file, bad.line = at.file, at.line
				out = append(out, bad)
			}
		}
	}
	return out
}

// linkedPackage is one line of go list -deps.
type linkedPackage struct {
	path          string
	standard, cgo bool
}

// linkedPackages lists with CGO_ENABLED=1: only then does the go command show
// files that import "C". In the standard library those have a pure Go twin.
func linkedPackages(root, program string) ([]linkedPackage, error) {
	const format = "{{.ImportPath}} {{.Standard}} {{len .CgoFiles}}"
	cmd := exec.Command("go", "list", "-deps", "-f", format, "./cmd/"+program)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=1", "GOFLAGS=")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	text, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list -deps ./cmd/%s: %w: %s", program, err, strings.TrimSpace(stderr.String()))
	}
	var out []linkedPackage
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) == 3 {
			out = append(out, linkedPackage{path: f[0], standard: f[1] == "true", cgo: f[2] != "0"})
		}
	}
	return out, nil
}

func judgeLink(program string, d linkedPackage) (finding, bool) {
	if d.cgo && !d.standard {
		return finding{rule: "cgo", reason: "links " + d.path + ", which is a cgo package: berth is built with CGO_ENABLED=0"}, true
	}
	for barred, why := range barredLink[program] {
		if below(d.path, barred) {
			return finding{rule: "linked", reason: "links " + barred + ": " + why}, true
		}
	}
	if program == "berth-helper" && !d.standard {
		for _, ok := range helperLinks {
			if below(d.path, ok) {
				return finding{}, false
			}
		}
		return finding{rule: "linked", reason: "links " + d.path + ": the helper enters containers and carries neither engine nor the runtime's parent side"}, true
	}
	return finding{}, false
}

func below(pkg, folder string) bool {
	return pkg == folder || strings.HasPrefix(pkg, folder+"/")
}
