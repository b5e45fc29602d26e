// Package peer starts other people's engines and tools for tests, each with a
// store of its own: podman, docker with a daemon, skopeo, umoci and Debian's
// docker-registry. One that is not installed is a failure
// (tools/ci/packages.txt). It belongs to the tests, outside the rows.
package peer

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// limit is how long one command of a peer may take.
const limit = 2 * time.Minute

// Peer is another program's command line.
type Peer struct {
	t     testing.TB
	words []string
	// Name is docker's or podman's own, Root the folder of its store.
	Name, Root string
}

// Program is any command line of others; the words are its beginning.
func Program(t testing.TB, words ...string) Peer {
	return Peer{t: t, words: words, Name: filepath.Base(words[0])}
}

// Run runs a command that must end well and gives what it prints, without the
// spaces around it.
func (p Peer) Run(args ...string) string {
	p.t.Helper()
	all := slices.Concat(p.words, args)
	// In clean-ups too, when the test's own context has ended.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(p.t.Context()), limit)
	defer cancel()
	c := exec.CommandContext(ctx, all[0], all[1:]...)
	var stderr bytes.Buffer
	c.Stderr = &stderr
	out, err := c.Output()
	if err != nil {
		p.t.Fatalf("%s: %v\n%s%s", strings.Join(all, " "), err, out, stderr.String())
	}
	return strings.TrimSpace(string(out))
}

// NeedRoot skips the test of an ordinary user.
func NeedRoot(t testing.TB) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root: other engines")
	}
}

// Podman has a store of its own with this storage driver.
func Podman(t testing.TB, driver string) Peer {
	t.Helper()
	NeedRoot(t)
	dir := t.TempDir()
	t.Cleanup(func() { _ = unix.Unmount(dir+"/store/overlay", unix.MNT_DETACH) }) // podman makes it a mount of its own
	p := Program(t, "podman", "--root", dir+"/store", "--runroot", dir+"/run", "--storage-driver", driver, "--cgroup-manager", "cgroupfs")
	p.Root = dir + "/store"
	return p
}

// Docker starts a daemon of its own, without a network, that takes registries
// on loopback for insecure.
func Docker(t testing.TB, driver string) Peer {
	t.Helper()
	NeedRoot(t)
	dir := t.TempDir()
	socket := "unix://" + dir + "/s"
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	d := exec.Command("dockerd", "--data-root", dir+"/data", "--exec-root", dir+"/exec", "--pidfile", dir+"/pid", "-H", socket,
		"--iptables=false", "--ip6tables=false", "--ip-forward=false", "--ip-masq=false", "--bridge=none", "--storage-driver", driver, "--log-level", "warn")
	d.Stdout, d.Stderr = log, log
	d.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if err := d.Start(); err != nil {
		t.Fatalf("start dockerd: %v", err)
	}
	t.Cleanup(func() {
		if err := d.Process.Signal(syscall.SIGTERM); err != nil {
			t.Error(err)
		}
		_ = d.Wait() // the signal ended it
		log.Close()
		if text, _ := os.ReadFile(log.Name()); t.Failed() {
			t.Logf("%s", text[max(0, len(text)-4000):])
		}
	})
	p := Program(t, "docker", "-H", socket)
	p.Root = dir + "/data"
	for range 600 {
		if exec.Command("docker", "-H", socket, "version").Run() == nil {
			return p
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Fatal("dockerd does not answer")
	return p
}

// Skopeo asks no policy.
func Skopeo(t testing.TB) Peer { return Program(t, "skopeo", "--insecure-policy") }

// Umoci unpacks OCI layouts.
func Umoci(t testing.TB) Peer { return Program(t, "umoci") }

// Folders are those that docker or podman say an overlay consists of: of an
// image or a container.
func (p Peer) Folders(object string) (upper string, lower []string) {
	p.t.Helper()
	var data struct{ UpperDir, LowerDir string }
	if err := json.Unmarshal([]byte(p.Run("inspect", "-f", "{{json .GraphDriver.Data}}", object)), &data); err != nil {
		p.t.Fatal(err)
	}
	return data.UpperDir, strings.FieldsFunc(data.LowerDir, func(r rune) bool { return r == ':' })
}

// IDs are the images that docker or podman list: REPOSITORY:TAG and the id
// without its algorithm.
func (p Peer) IDs() map[string]string {
	p.t.Helper()
	ids := map[string]string{}
	for line := range strings.Lines(p.Run("images", "--no-trunc", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}")) {
		name, id, _ := strings.Cut(strings.TrimSpace(line), " ")
		ids[name] = strings.TrimPrefix(id, "sha256:")
	}
	return ids
}
