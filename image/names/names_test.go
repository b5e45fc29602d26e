package names_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"berth/base/fault"
	"berth/image/names"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"
)

var ctx = context.Background()

// As a child process the test binary makes, moves and deletes a few names.
func TestMain(m *testing.M) {
	if root := os.Getenv("NAMES_TEST_STORE"); root != "" {
		if err := work(root); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func work(root string) error {
	s, err := names.Open(names.Options{Dir: filepath.Join(root, "names"), Locks: filepath.Join(root, "locks"),
		Bad: func(err error) { fmt.Fprintln(os.Stderr, "bad:", err) }})
	if err != nil {
		return err
	}
	wins := 0
	for round := range 50 {
		img := image(fmt.Sprintf("contested:%d", round))
		_, err := s.Create(ctx, img)
		switch {
		case err == nil:
			wins++
		case !errdefs.IsAlreadyExists(err):
			return err
		}
		// Every process adds a label of its own; none may be lost.
		key := fmt.Sprintf("pid%d", os.Getpid())
		_, err = s.Update(ctx, names.Image{Name: "all", Labels: map[string]string{key: fmt.Sprint(round)}}, "labels."+key)
		if err != nil {
			return err
		}
		if _, err := s.List(ctx); err != nil {
			return err
		}
	}
	fmt.Println(wins)
	return nil
}

func TestCreateIsExclusiveBetweenProcesses(t *testing.T) {
	root := t.TempDir()
	s := open(t, root)
	if _, err := s.Create(ctx, image("all")); err != nil {
		t.Fatal(err)
	}
	const processes = 10
	outs := make([]strings.Builder, processes)
	var wg sync.WaitGroup
	for n := range processes {
		wg.Go(func() {
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), "NAMES_TEST_STORE="+root)
			cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
			cmd.Stdout = &outs[n]
			b := &strings.Builder{}
			cmd.Stderr = b
			if err := cmd.Run(); err != nil || b.Len() > 0 {
				t.Errorf("%v: %s", err, b)
			}
		})
	}
	wg.Wait()
	sum := 0
	for n := range outs {
		var wins int
		fmt.Sscan(outs[n].String(), &wins)
		sum += wins
	}
	if sum != 50 {
		t.Errorf("50 names were made %d times", sum)
	}
	all, err := s.Get(ctx, "all")
	if err != nil || len(all.Labels) != processes {
		t.Errorf("%d labels of %d processes, %v", len(all.Labels), processes, err)
	}
}

func TestLife(t *testing.T) {
	root := t.TempDir()
	s := open(t, root)
	img := image("docker.io/library/busybox:latest")
	img.Labels = map[string]string{"a": "1", "empty": ""}
	img.Target.Annotations = map[string]string{"x": "<&>\u00e9"}
	before := time.Now()
	made, err := s.Create(ctx, img)
	if err != nil || made.CreatedAt.Before(before) || !made.CreatedAt.Equal(made.UpdatedAt) {
		t.Fatalf("%+v %v", made, err)
	}
	if _, err := s.Create(ctx, img); !errdefs.IsAlreadyExists(err) || !fault.Is(err, fault.Exists) {
		t.Fatalf("twice: %v", err)
	}
	got, err := s.Get(ctx, img.Name)
	if err != nil || got.Target.Digest != img.Target.Digest || len(got.Labels) != 1 || got.Target.Annotations["x"] != "<&>\u00e9" {
		t.Fatalf("%+v %v", got, err)
	}
	other := image(img.Name)
	other.Target.Digest = digest.FromString("other")
	other.Labels = map[string]string{"a": "2", "b": "3"}
	up, err := s.Update(ctx, other, "labels.b", "target")
	if err != nil || up.Labels["a"] != "1" || up.Labels["b"] != "3" || up.Target.Digest != other.Target.Digest || !up.CreatedAt.Equal(made.CreatedAt) {
		t.Fatalf("%+v %v", up, err)
	}
	if up, err = s.Update(ctx, other); err != nil || up.Labels["a"] != "2" {
		t.Fatalf("%+v %v", up, err)
	}
	if _, err := s.Update(ctx, other, "name"); !errdefs.IsInvalidArgument(err) {
		t.Errorf("%v", err)
	}
	if _, err := s.Update(ctx, image("none")); !errdefs.IsNotFound(err) {
		t.Errorf("%v", err)
	}
	if err := s.Delete(ctx, img.Name, img.Target.Digest); !errdefs.IsNotFound(err) {
		t.Errorf("delete of another target: %v", err)
	}
	if err := s.Delete(ctx, img.Name, other.Target.Digest); err != nil {
		t.Error(err)
	}
	if err := s.Delete(ctx, img.Name); !errdefs.IsNotFound(err) || !fault.Is(err, fault.NotFound) {
		t.Errorf("%v", err)
	}
	if _, err := s.Get(ctx, img.Name); !errdefs.IsNotFound(err) {
		t.Errorf("%v", err)
	}
	if left, _ := os.ReadDir(filepath.Join(root, "names")); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

func TestPutMovesNames(t *testing.T) {
	s := open(t, t.TempDir())
	a, b := image("a"), image("b")
	a.Labels = map[string]string{"k": "v"}
	if err := s.Put(ctx, a, b); err != nil {
		t.Fatal(err)
	}
	first, _ := s.Get(ctx, "a")
	moved := image("a")
	moved.Target.Digest = digest.FromString("moved")
	if err := s.Put(ctx, moved); err != nil {
		t.Fatal(err)
	}
	now, err := s.Get(ctx, "a")
	if err != nil || now.Target.Digest != moved.Target.Digest || !now.CreatedAt.Equal(first.CreatedAt) || now.Labels["k"] != "v" {
		t.Fatalf("%+v %v", now, err)
	}
	bad := image("c")
	bad.Target.Size = 0
	if err := s.Put(ctx, image("d"), bad); !errdefs.IsInvalidArgument(err) {
		t.Errorf("%v", err)
	}
	if l, _ := s.List(ctx); len(l) != 2 {
		t.Errorf("a Put that failed its check made names: %v", l)
	}
}

func TestWhatMayNotBeStored(t *testing.T) {
	s := open(t, t.TempDir())
	for what, change := range map[string]func(*names.Image){
		"no name":       func(i *names.Image) { i.Name = "" },
		"long name":     func(i *names.Image) { i.Name = strings.Repeat("x", 5000) },
		"bad digest":    func(i *names.Image) { i.Target.Digest = "sha256:../../x" },
		"no digest":     func(i *names.Image) { i.Target.Digest = "" },
		"no media type": func(i *names.Image) { i.Target.MediaType = "" },
		"long label":    func(i *names.Image) { i.Labels = map[string]string{"k": strings.Repeat("x", 4096)} },
	} {
		img := image("good")
		change(&img)
		if _, err := s.Create(ctx, img); !errdefs.IsInvalidArgument(err) || !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestListFilters(t *testing.T) {
	s := open(t, t.TempDir())
	for _, n := range []string{"b", "a", "c"} {
		img := image(n)
		img.Labels = map[string]string{"letter": n, "dotted.key": n}
		if _, err := s.Create(ctx, img); err != nil {
			t.Fatal(err)
		}
	}
	for filter, want := range map[string]string{
		"":                       "a b c",
		"name==b":                "b",
		"labels.letter==c":       "c",
		`labels."dotted.key"==a`: "a",
		"target.digest==" + digest.FromString("a").String(): "a",
		"name~=[ab]": "a b",
	} {
		var fs []string
		if filter != "" {
			fs = []string{filter}
		}
		l, err := s.List(ctx, fs...)
		var got []string
		for _, i := range l {
			got = append(got, i.Name)
		}
		if err != nil || strings.Join(got, " ") != want {
			t.Errorf("%q: %v %v", filter, got, err)
		}
	}
	if _, err := s.List(ctx, "name="); !errdefs.IsInvalidArgument(err) {
		t.Errorf("%v", err)
	}
}

func TestGarbageIsOneBadName(t *testing.T) {
	root := t.TempDir()
	var mu sync.Mutex
	var told []string
	s, err := names.Open(names.Options{Dir: filepath.Join(root, "names"), Locks: filepath.Join(root, "locks"), Bad: func(err error) {
		mu.Lock()
		defer mu.Unlock()
		told = append(told, err.Error())
	}})
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []string{"good", "bad"} {
		if _, err := s.Create(ctx, image(n)); err != nil {
			t.Fatal(err)
		}
	}
	dir := filepath.Join(root, "names")
	good := digest.FromString("good").Encoded()
	bad := filepath.Join(dir, digest.FromString("bad").Encoded()+".json")
	content, _ := os.ReadFile(filepath.Join(dir, good+".json"))
	os.WriteFile(filepath.Join(dir, ".stage-left"), []byte("half"), 0o600)
	for what, spoil := range map[string]func() error{
		"garbage":      func() error { return os.WriteFile(bad, []byte("{\xff"), 0o600) },
		"empty":        func() error { return os.WriteFile(bad, nil, 0o600) },
		"another name": func() error { return os.WriteFile(bad, content, 0o600) },
		"huge":         func() error { return os.WriteFile(bad, make([]byte, 2<<20), 0o600) },
		"a FIFO":       func() error { os.Remove(bad); return unix.Mkfifo(bad, 0o600) },
		"a folder":     func() error { os.Remove(bad); return os.Mkdir(bad, 0o700) },
	} {
		t.Run(what, func(t *testing.T) {
			told = nil
			if err := spoil(); err != nil {
				t.Fatal(err)
			}
			l, err := s.List(ctx)
			if err != nil || len(l) != 1 || l[0].Name != "good" {
				t.Errorf("%v %v", l, err)
			}
			if len(told) != 1 || !strings.Contains(told[0], filepath.Base(bad)) {
				t.Errorf("told %v", told)
			}
			if _, err := s.Get(ctx, "bad"); err == nil || fault.Is(err, fault.NotFound) {
				t.Errorf("Get: %v", err)
			}
			if what == "a folder" {
				os.Remove(bad)
			}
			if _, err := s.Create(ctx, image("bad")); err != nil {
				t.Errorf("a broken name stands in the way: %v", err)
			}
			if _, err := s.Get(ctx, "bad"); err != nil {
				t.Error(err)
			}
		})
	}
}

// Another version's name is there: it can be neither read nor replaced unseen.
func TestNewerVersion(t *testing.T) {
	root := t.TempDir()
	s := open(t, root)
	file := filepath.Join(root, "names", digest.FromString("n").Encoded()+".json")
	os.WriteFile(file, []byte(`{"version":2,"name":"n"}`), 0o600)
	if _, err := s.Get(ctx, "n"); !fault.Is(err, fault.Unsupported) {
		t.Errorf("%v", err)
	}
	if _, err := s.Create(ctx, image("n")); !errdefs.IsAlreadyExists(err) {
		t.Errorf("%v", err)
	}
	if err := s.Put(ctx, image("n")); !fault.Is(err, fault.Unsupported) {
		t.Errorf("%v", err)
	}
	if err := s.Delete(ctx, "n"); err != nil {
		t.Errorf("%v", err)
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
	s := open(t, root)
	n := 0
	for {
		if _, err := s.Create(ctx, image(fmt.Sprint(n))); err != nil {
			if !fault.Is(err, fault.NoSpace) {
				t.Fatal(err)
			}
			break
		}
		n++
	}
	if _, err := s.Update(ctx, image("0")); !fault.Is(err, fault.NoSpace) {
		t.Errorf("update: %v", err)
	}
	if err := s.Put(ctx, image("0"), image("x")); !fault.Is(err, fault.NoSpace) {
		t.Errorf("put: %v", err)
	}
	l, err := s.List(ctx)
	if err != nil || len(l) != n {
		t.Errorf("%d of %d, %v", len(l), n, err)
	}
	if err := s.Delete(ctx, "0"); err != nil {
		t.Error(err)
	}
	if _, err := s.Create(ctx, image("0")); err != nil {
		t.Error(err)
	}
	es, _ := os.ReadDir(filepath.Join(root, "names"))
	if slices.ContainsFunc(es, func(e os.DirEntry) bool { return strings.HasPrefix(e.Name(), ".stage") }) {
		t.Error("staged files are left")
	}
}

func TestDeleteAll(t *testing.T) {
	s := thousand(t)
	l, err := s.List(ctx)
	if err != nil {
		t.Fatal(err)
	}
	all := []string{"not there"}
	for _, img := range l {
		all = append(all, img.Name)
	}
	deleted, err := s.DeleteAll(ctx, all...)
	if err != nil || len(deleted) != 1000 {
		t.Fatalf("%d, %v", len(deleted), err)
	}
	if l, err := s.List(ctx); err != nil || len(l) != 0 {
		t.Errorf("%v %v", l, err)
	}
}
