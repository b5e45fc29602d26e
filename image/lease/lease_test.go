package lease_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"berth/base/fault"
	"berth/image/lease"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
)

var ctx = context.Background()

func open(root string) (*lease.Store, error) {
	return lease.Open(lease.Options{Dir: filepath.Join(root, "leases"), Locks: filepath.Join(root, "locks")})
}

func store(t *testing.T) (*lease.Store, string) {
	t.Helper()
	root := t.TempDir()
	s, err := open(root)
	if err != nil {
		t.Fatal(err)
	}
	return s, root
}

// As a child process the test binary makes a lease of its own and waits, or
// adds resources to one that all share.
func TestMain(m *testing.M) {
	if root := os.Getenv("LEASE_TEST_STORE"); root != "" {
		if err := child(root); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func child(root string) error {
	s, err := open(root)
	if err != nil {
		return err
	}
	if os.Getenv("LEASE_TEST_DO") == "add" {
		for n := range 30 {
			r := lease.Resource{ID: fmt.Sprintf("%d-%d", os.Getpid(), n), Type: lease.ContentType}
			if err := s.AddResource(ctx, lease.Lease{ID: "shared"}, r); err != nil {
				return err
			}
		}
		return nil
	}
	if _, err := s.Create(ctx, lease.WithID("owned"), lease.WithOwner()); err != nil {
		return err
	}
	if _, err := s.Create(ctx, lease.WithID("resumable"), lease.WithOwner(), lease.WithExpiration(time.Hour)); err != nil {
		return err
	}
	fmt.Println("ready")
	_, err = os.Stdin.Read(make([]byte, 1))
	return err
}

func TestLife(t *testing.T) {
	s, root := store(t)
	l, err := s.Create(ctx, lease.WithID("a"), lease.WithLabels(map[string]string{"k": "v"}), lease.WithExpiration(time.Hour))
	if err != nil || l.ID != "a" || l.CreatedAt.IsZero() {
		t.Fatalf("%+v %v", l, err)
	}
	if _, err := s.Create(ctx, lease.WithID("a")); !errdefs.IsAlreadyExists(err) || !fault.Is(err, fault.Exists) {
		t.Errorf("twice: %v", err)
	}
	random, err := s.Create(ctx)
	if err != nil || random.ID == "" {
		t.Fatalf("%+v %v", random, err)
	}
	all, err := s.List(ctx)
	if err != nil || len(all) != 2 {
		t.Fatalf("%v %v", all, err)
	}
	some, err := s.List(ctx, "labels.k==v")
	if err != nil || len(some) != 1 || some[0].ID != "a" || some[0].Labels["k"] != "v" || some[0].Labels[lease.ExpireLabel] == "" {
		t.Fatalf("%v %v", some, err)
	}
	one := lease.Resource{ID: "sha256:x", Type: lease.ContentType}
	two := lease.Resource{ID: "key", Type: lease.SnapshotType + "berth"}
	for range 2 {
		if err := s.AddResources(ctx, l, one, two); err != nil {
			t.Fatal(err)
		}
	}
	if rs, err := s.ListResources(ctx, l); err != nil || len(rs) != 2 {
		t.Errorf("%v %v", rs, err)
	}
	for range 2 {
		if err := s.DeleteResource(ctx, l, one); err != nil {
			t.Fatal(err)
		}
	}
	if rs, err := s.ListResources(ctx, l); err != nil || len(rs) != 1 || rs[0] != two {
		t.Errorf("%v %v", rs, err)
	}
	got, err := s.Get(ctx, "a")
	if _, limited := got.Expiry(); err != nil || !limited {
		t.Errorf("an expiry was lost by a change: %+v %v", got, err)
	}
	if err := s.AddResource(ctx, l, lease.Resource{ID: "x", Type: "nonsense"}); !errdefs.IsInvalidArgument(err) {
		t.Errorf("%v", err)
	}
	for _, l := range all {
		if err := s.Delete(ctx, l); err != nil {
			t.Error(err)
		}
	}
	for _, err := range []error{
		s.Delete(ctx, l), s.AddResource(ctx, l, one), s.DeleteResource(ctx, l, one),
		func() error { _, err := s.ListResources(ctx, l); return err }(),
	} {
		if !errdefs.IsNotFound(err) || !fault.Is(err, fault.NotFound) {
			t.Errorf("%v", err)
		}
	}
	if left, _ := os.ReadDir(filepath.Join(root, "leases")); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

func TestAnyID(t *testing.T) {
	s, root := store(t)
	for _, id := range []string{"../../x", "a/b", ".", "..", ".hidden", "h-abc", strings.Repeat("x", 1000), "with space\n", "ü"} {
		l, err := s.Create(ctx, lease.WithID(id))
		if err != nil {
			t.Fatalf("%q: %v", id, err)
		}
		got, err := s.Get(ctx, id)
		if err != nil || got.ID != id {
			t.Errorf("%q: %v %v", id, got, err)
		}
		if err := s.Delete(ctx, l); err != nil {
			t.Errorf("%q: %v", id, err)
		}
	}
	if es, _ := os.ReadDir(root); len(es) != 2 {
		t.Errorf("a lease outside the folder: %v", es)
	}
	if _, err := s.Create(ctx, lease.WithID(strings.Repeat("x", 2000))); !errdefs.IsInvalidArgument(err) {
		t.Errorf("%v", err)
	}
	if _, err := s.Create(ctx, lease.WithLabels(map[string]string{lease.ExpireLabel: "tomorrow"})); !errdefs.IsInvalidArgument(err) {
		t.Errorf("%v", err)
	}
}

func dead(t *testing.T, s *lease.Store, id string, at time.Time) bool {
	t.Helper()
	l, err := s.Get(ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	d, err := l.Dead(at)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestDeadWithItsOwner(t *testing.T) {
	s, root := store(t)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "LEASE_TEST_STORE="+root)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	in, _ := cmd.StdinPipe()
	defer in.Close()
	out, _ := cmd.StdoutPipe()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 8)); err != nil {
		t.Fatal(err)
	}
	now, later := time.Now(), time.Now().Add(2*time.Hour)
	if dead(t, s, "owned", now) || dead(t, s, "resumable", now) || dead(t, s, "resumable", later) {
		t.Error("dead while the owner lives")
	}
	_ = cmd.Process.Kill()
	for end := time.Now().Add(5 * time.Second); !dead(t, s, "owned", now) && time.Now().Before(end); {
		time.Sleep(time.Millisecond) // a zombie counts as gone: it is not waited for
	}
	if !dead(t, s, "owned", now) {
		t.Error("alive without its owner")
	}
	if dead(t, s, "resumable", now) {
		t.Error("a lease with an expiry is gone with its owner")
	}
	if !dead(t, s, "resumable", later) {
		t.Error("alive after its expiry")
	}
	_ = cmd.Wait()
	if done, err := s.DeleteDead(ctx, "resumable", now); done || err != nil {
		t.Errorf("%v %v", done, err)
	}
	if done, err := s.DeleteDead(ctx, "owned", now); !done || err != nil {
		t.Errorf("%v %v", done, err)
	}
}

func TestOwnersOfOtherTimesAndPlaces(t *testing.T) {
	self, err := lease.Self()
	if err != nil {
		t.Fatal(err)
	}
	for what, tc := range map[string]struct {
		change func(*lease.Owner)
		gone   bool
	}{
		"itself":                {func(*lease.Owner) {}, false},
		"another boot":          {func(o *lease.Owner) { o.Boot = "x" }, true},
		"the pid came again":    {func(o *lease.Owner) { o.Start-- }, true},
		"another pid namespace": {func(o *lease.Owner) { o.PIDNS, o.Start = "pid:[1]", 1 }, false},
	} {
		o := *self
		tc.change(&o)
		if gone, err := o.Gone(); gone != tc.gone || err != nil {
			t.Errorf("%s: gone %v, %v", what, gone, err)
		}
	}
	forever := lease.Lease{ID: "x"}
	if d, err := forever.Dead(time.Now().AddDate(100, 0, 0)); d || err != nil {
		t.Errorf("%v %v", d, err)
	}
}

func TestProcessesShareALease(t *testing.T) {
	s, root := store(t)
	if _, err := s.Create(ctx, lease.WithID("shared"), lease.WithExpiration(time.Hour)); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), "LEASE_TEST_STORE="+root, "LEASE_TEST_DO=add")
			cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
			var out bytes.Buffer
			cmd.Stderr = &out
			if err := cmd.Run(); err != nil {
				t.Errorf("%v: %s", err, out.String())
			}
		})
	}
	wg.Wait()
	if rs, err := s.ListResources(ctx, lease.Lease{ID: "shared"}); err != nil || len(rs) != 300 {
		t.Errorf("%d of 300 resources, %v", len(rs), err)
	}
}

func TestGarbageIsOneBadLease(t *testing.T) {
	s, root := store(t)
	s.Create(ctx, lease.WithID("good"))
	bad := filepath.Join(root, "leases/bad.json")
	for what, spoil := range map[string]func() error{
		"garbage":       func() error { return os.WriteFile(bad, []byte("{\xff"), 0o600) },
		"empty":         func() error { return os.WriteFile(bad, nil, 0o600) },
		"another's":     func() error { return os.WriteFile(bad, []byte(`{"version":1,"id":"good"}`), 0o600) },
		"a bad time":    func() error { return os.WriteFile(bad, []byte(`{"version":1,"id":"bad","expiry":"x"}`), 0o600) },
		"a bad owner":   func() error { return os.WriteFile(bad, []byte(`{"version":1,"id":"bad","owner":{"pid":-1}}`), 0o600) },
		"other version": func() error { return os.WriteFile(bad, []byte(`{"version":2,"id":"bad"}`), 0o600) },
		"a FIFO":        func() error { os.Remove(bad); return unix.Mkfifo(bad, 0o600) },
	} {
		t.Run(what, func(t *testing.T) {
			if err := spoil(); err != nil {
				t.Fatal(err)
			}
			defer os.Remove(bad)
			if l, err := s.List(ctx); err != nil || len(l) != 1 {
				t.Errorf("%v %v", l, err)
			}
			if _, problems, err := s.Scan(ctx); err != nil || len(problems) != 1 || problems[0].Path != bad {
				t.Errorf("%v %v", problems, err)
			}
			if _, err := s.Get(ctx, "bad"); err == nil || fault.Is(err, fault.NotFound) {
				t.Errorf("%v", err)
			}
			if err := s.Delete(ctx, lease.Lease{ID: "bad"}); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestFullDisk(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root: mounts a tmpfs")
	}
	root := t.TempDir()
	if err := unix.Mount("tmpfs", root, "tmpfs", 0, "size=256k"); err != nil {
		t.Fatal(err)
	}
	defer unix.Unmount(root, unix.MNT_DETACH)
	s, err := open(root)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for ; err == nil; n++ {
		_, err = s.Create(ctx, lease.WithID(fmt.Sprint(n)))
	}
	if !fault.Is(err, fault.NoSpace) {
		t.Fatal(err)
	}
	// more than what is left of the file's page
	r := lease.Resource{ID: strings.Repeat("x", 4096), Type: lease.ContentType}
	if err := s.AddResource(ctx, lease.Lease{ID: "0"}, r); !fault.Is(err, fault.NoSpace) {
		t.Errorf("%v", err)
	}
	if rs, err := s.ListResources(ctx, lease.Lease{ID: "0"}); err != nil || len(rs) != 0 {
		t.Errorf("%v %v", rs, err)
	}
	if l, err := s.List(ctx); err != nil || len(l) != n-1 {
		t.Errorf("%d of %d, %v", len(l), n-1, err)
	}
	if err := s.Delete(ctx, lease.Lease{ID: "1"}); err != nil {
		t.Error(err)
	}
	for i := 1; i < 5; i++ { // what the long line needs
		if err := s.Delete(ctx, lease.Lease{ID: fmt.Sprint(i)}); err != nil && i > 1 {
			t.Error(err)
		}
	}
	if err := s.AddResource(ctx, lease.Lease{ID: "0"}, r); err != nil {
		t.Error(err)
	}
}

// TestGrowsByLines: what the maker of a lease adds is appended; a line that was
// cut off is dropped, and nothing is appended to it.
func TestGrowsByLines(t *testing.T) {
	s, root := store(t)
	l, err := s.Create(ctx, lease.WithID("x"), lease.WithOwner())
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(root, "leases/x.json")
	before, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	want := func(n int) {
		t.Helper()
		if rs, err := s.ListResources(ctx, l); err != nil || len(rs) != n {
			t.Fatalf("%d of %d resources, %v", len(rs), n, err)
		}
	}
	add := func(id string) {
		t.Helper()
		if err := s.AddResource(ctx, l, lease.Resource{ID: id, Type: lease.ContentType}); err != nil {
			t.Fatal(err)
		}
	}
	for _, id := range []string{"a", "b", "a", "c"} {
		add(id)
	}
	want(3)
	if after, err := os.Stat(path); err != nil || !os.SameFile(before, after) {
		t.Errorf("the file was written anew: %v", err)
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(`[{"id":"cut`); err != nil {
		t.Fatal(err)
	}
	f.Close()
	want(3)
	add("d")
	want(4)
	if err := s.DeleteResource(ctx, l, lease.Resource{ID: "b", Type: lease.ContentType}); err != nil {
		t.Fatal(err)
	}
	add("e")
	want(4)
	if err := s.Delete(ctx, l); err != nil {
		t.Fatal(err)
	}
	if err := s.AddResource(ctx, l, lease.Resource{ID: "f", Type: lease.ContentType}); !fault.Is(err, fault.NotFound) {
		t.Errorf("added to a lease that is gone: %v", err)
	}
	forever, err := s.Create(ctx, lease.WithID("y"))
	if err != nil {
		t.Fatal(err)
	}
	l = forever
	add("a")
	want(1)
	if b, err := os.ReadFile(filepath.Join(root, "leases/y.json")); err != nil || strings.Contains(string(b), "\n") {
		t.Errorf("a lease for ever grew by a line: %q %v", b, err)
	}
}
