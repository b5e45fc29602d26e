// Package stress starts berth-oci very often, kills it at any moment, and
// feeds it nonsense; each time nothing may be left behind, and the next
// command must work.
//
// By default it takes a seeded sample, a twentieth of each count; with
// BERTH_SWEEP=1 everything. BERTH_SEED=n repeats a sample. It belongs to the
// tests, outside the rows.
package stress

import (
	"fmt"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"berth/test/bundle"
	"berth/test/leak"
	"berth/test/sample"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

func TestMain(m *testing.M) {
	if os.Getuid() != 0 {
		os.Exit(m.Run())
	}
	os.Exit(leak.Main(m, leak.Config{}))
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root: starts containers with real ids")
	}
}

// workers is how many containers start at the same time.
const workers = 10

func TestThousandRuns(t *testing.T) {
	needRoot(t)
	rt := bundle.Ours(t)
	leak.Check(t, rt.Root)
	bundles := make(chan *bundle.Bundle, workers)
	for i := range workers {
		bundles <- bundle.New(t, bundle.Args("/bin/sh", "-c", "exit "+strconv.Itoa(i)), bundle.Seccomp())
	}
	sample.Parallel(t, workers, sample.Rounds(1000), func(int) error {
		b := <-bundles
		defer func() { bundles <- b }()
		want, err := strconv.Atoi(b.Spec.Process.Args[2][len("exit "):])
		if err != nil {
			return err
		}
		if res := rt.Run(b); res.Code != want {
			return fmt.Errorf("want exit code %d: %s", want, res)
		}
		return nil
	})
}

func TestThousandExecs(t *testing.T) {
	needRoot(t)
	rt := bundle.Ours(t)
	leak.Check(t, rt.Root)
	id := rt.Start(bundle.New(t, bundle.Args("/bin/sleep", "1000"), bundle.Seccomp()))
	sample.Parallel(t, workers, sample.Rounds(1000), func(i int) error {
		words := []string{"exec", id, "/bin/sh", "-c", fmt.Sprintf("echo %d; exit %d", i, i%100)}
		if res := rt.Do(words...); res.Code != i%100 || res.Stdout != fmt.Sprintf("%d\n", i) {
			return fmt.Errorf("%s", res)
		}
		return nil
	})
	if res := rt.Must("ps", "--format", "json", id); len(res.Stdout) > 20 {
		t.Errorf("processes are left in the container: %s", res)
	}
	rt.Remove(id)
}

// failures are ways for a start to fail, late and early.
var failures = []bundle.Option{
	bundle.Args("/no-such-place"),
	bundle.Args("/etc/passwd"),
	bundle.Cwd("/etc/passwd"),
	bundle.Bind("/no-such-place", "/mnt"),
	bundle.Namespace(specs.NetworkNamespace, "/no-such-place/ns"),
	bundle.Edit(func(s *specs.Spec) { s.Hooks = &specs.Hooks{CreateRuntime: []specs.Hook{{Path: "/bin/false"}}} }),
	bundle.Edit(func(s *specs.Spec) { s.Hooks = &specs.Hooks{CreateContainer: []specs.Hook{{Path: "/bin/false"}}} }),
	bundle.Edit(func(s *specs.Spec) { s.Hooks = &specs.Hooks{StartContainer: []specs.Hook{{Path: "/bin/false"}}} }),
	bundle.Edit(func(s *specs.Spec) { s.Linux.Sysctl = map[string]string{"net.ipv4.no_such_thing": "1"} }),
	bundle.Mount(specs.Mount{Destination: "/mnt", Type: "nosuchfs", Source: "x"}),
	bundle.Mount(specs.Mount{Destination: "/mnt", Type: "tmpfs", Source: "x", Options: []string{"size=nonsense"}}),
	bundle.Resources(func(r *specs.LinuxResources) { r.CPU = &specs.LinuxCPU{Cpus: "4000"} }),
	bundle.Resources(func(r *specs.LinuxResources) { n := int64(1); r.Memory = &specs.LinuxMemory{Limit: &n} }),
	bundle.Namespace(specs.UserNamespace, ""),
	bundle.Edit(func(s *specs.Spec) {
		s.Process.Rlimits = []specs.POSIXRlimit{{Type: "RLIMIT_NOFILE", Soft: 1 << 62, Hard: 1 << 62}}
	}),
	bundle.MapIDs(4294967295, 2),
}

func TestThousandFailedStarts(t *testing.T) {
	needRoot(t)
	rt := bundle.Ours(t)
	leak.Check(t, rt.Root)
	var bundles []*bundle.Bundle
	for i, f := range failures {
		if i != len(failures)-1 {
			bundles = append(bundles, bundle.New(t, f))
			continue
		}
		// Ids that do not exist: the files keep their owner.
		bundles = append(bundles, bundle.New(t, bundle.Edit(func(s *specs.Spec) {
			m := []specs.LinuxIDMapping{{ContainerID: 0, HostID: 4294967295, Size: 2}}
			s.Linux.UIDMappings, s.Linux.GIDMappings = m, m
			s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace})
		})))
	}
	n := sample.Rounds(1000)
	locks := make([]sync.Mutex, len(bundles))
	sample.Parallel(t, workers, max(n, len(bundles)), func(i int) error {
		k := i % len(bundles)
		locks[k].Lock() // they share a cgroup path
		defer locks[k].Unlock()
		words := []string{"run", "--bundle", bundles[k].Dir}
		if i/len(bundles)%2 == 1 {
			words = []string{"run", "--detach", "--bundle", bundles[k].Dir}
		}
		id := rt.NewID()
		if res := rt.Do(append(words, id)...); res.Code == 0 || res.Duration > 5*time.Second {
			return fmt.Errorf("want a failure within 5 s (kind %d): %s", k, res)
		}
		if _, err := os.Stat(rt.Root + "/" + id); err == nil {
			return fmt.Errorf("the state folder of %s is left (kind %d)", id, k)
		}
		return nil
	})
}
