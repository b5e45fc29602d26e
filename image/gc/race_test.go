package gc_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"berth/base/fault"
	"berth/image/content"
	"berth/image/gc"
	"berth/image/lease"
	"berth/image/names"
	"berth/image/snapshot"

	core "github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// As a child process the test binary works on a store until it is killed or
// its time is over: it pulls, removes, prunes and lists the same few images.
func TestMain(m *testing.M) {
	for name, do := range map[string]func(string) error{
		"GC_TEST_STORE": work,
		"GC_TEST_POWER": func(root string) error { return pullForEver(root, os.Stdout) },
		"GC_TEST_AFTER": func(root string) error { return lookAfter(root, os.Getenv("GC_TEST_ACKED")) },
	} {
		if root := os.Getenv(name); root != "" {
			if err := do(root); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
			os.Exit(0)
		}
	}
	os.Exit(m.Run())
}

const sampleCount = 4

func work(root string) error {
	s, err := open(root, os.Getpid()%2 == 0)
	if err != nil {
		return err
	}
	d, err := time.ParseDuration(os.Getenv("GC_TEST_TIME"))
	if err != nil {
		return err
	}
	for end := time.Now().Add(d); time.Now().Before(end); {
		i := makeSample(rand.IntN(sampleCount), 20_000)
		switch p := rand.IntN(10); {
		case p < 5:
			err = s.pull(i)
		case p < 7:
			err = s.Names.Delete(ctx, i.name)
			if fault.Is(err, fault.NotFound) {
				err = nil
			}
		case p < 9:
			_, err = s.Collect(ctx, gc.Options{})
		default:
			_, err = s.Names.List(ctx)
		}
		if err != nil {
			return fmt.Errorf("pid %d: %w", os.Getpid(), err)
		}
	}
	return nil
}

// pull does to the store what a pull does: lease, look, fetch, commit, unpack,
// name. At its end all must be there, whatever others do.
func (s *store) pull(i sample) error {
	l, err := s.Leases.Create(ctx, lease.WithOwner())
	if err != nil {
		return err
	}
	resources := []lease.Resource{{ID: string(i.chain), Type: lease.SnapshotType + gc.Snapshotter}}
	for _, b := range i.blobs {
		d := string(digest.FromBytes(b))
		resources = append(resources, lease.Resource{ID: d, Type: lease.ContentType}, lease.Resource{ID: "fetch " + d, Type: lease.IngestType})
	}
	if err := s.Leases.AddResources(ctx, l, resources...); err != nil {
		return err
	}
	for n, b := range i.blobs {
		if err := s.fetch(b, n%2 == 1); err != nil {
			return err
		}
	}
	if s.Snapshots != nil {
		if err := s.unpack(i); err != nil {
			return err
		}
	}
	if err := s.Content.Sync(ctx); err != nil {
		return err
	}
	if err := s.Names.Put(ctx, names.Image{Name: i.name, Target: i.target}); err != nil {
		return err
	}
	for _, b := range i.blobs {
		got, err := core.ReadBlob(ctx, s.Content, describe("", b))
		if err != nil {
			return fmt.Errorf("after a pull: %w", err)
		}
		if !bytes.Equal(got, b) {
			return errors.New("after a pull: a blob has other bytes")
		}
	}
	if s.Snapshots != nil {
		if _, err := s.Snapshots.Usage(ctx, string(i.chain)); err != nil {
			return fmt.Errorf("after a pull: %w", err)
		}
	}
	return s.Leases.Delete(ctx, l)
}

// fetch gets one blob; another process may be at the same one.
func (s *store) fetch(b []byte, ranged bool) error {
	d := digest.FromBytes(b)
	ref := "fetch " + string(d)
	for {
		if _, err := s.Content.Info(ctx, d); !fault.Is(err, fault.NotFound) {
			return err
		}
		var err error
		if ranged {
			err = s.fetchRanged(ref, b, d)
		} else {
			err = s.fetchInOrder(ref, b, d)
		}
		if errdefs.IsUnavailable(err) {
			time.Sleep(time.Millisecond)
			continue
		}
		if err != nil && !errdefs.IsAlreadyExists(err) {
			return err
		}
	}
}

func (s *store) fetchInOrder(ref string, b []byte, d digest.Digest) error {
	w, err := s.Content.Writer(ctx, core.WithRef(ref), core.WithDescriptor(ocispec.Descriptor{Digest: d, Size: int64(len(b))}))
	if err != nil {
		return err
	}
	defer w.Close()
	st, err := w.Status()
	if err != nil {
		return err
	}
	for rest := b[st.Offset:]; len(rest) > 0; {
		n := min(len(rest), 1+rand.IntN(8000))
		if _, err := w.Write(rest[:n]); err != nil {
			return err
		}
		rest = rest[n:]
	}
	return w.Commit(ctx, 0, "", core.WithLabels(map[string]string{"a": "b"}))
}

func (s *store) fetchRanged(ref string, b []byte, d digest.Digest) error {
	r, err := s.Content.OpenRanged(ctx, ref, int64(len(b)), d)
	if err != nil {
		return err
	}
	defer r.Close()
	missing := r.Missing()
	slices.Reverse(missing)
	for _, m := range missing {
		half := (m.Start + m.End) / 2
		for _, part := range []content.Range{{Start: half, End: m.End}, {Start: m.Start, End: half}} {
			if _, err := r.WriteAt(b[part.Start:part.End], part.Start); err != nil {
				return err
			}
		}
		if rand.IntN(4) == 0 { // come back later
			return r.Close()
		}
	}
	return r.Commit(ctx)
}

// unpack makes the snapshot of an image.
func (s *store) unpack(i sample) error {
	sn := s.Snapshots.(*snapshot.Overlay)
	for {
		if _, err := sn.Stat(ctx, string(i.chain)); !errdefs.IsNotFound(err) {
			return err
		}
		key := fmt.Sprintf("unpack-%d-%d", os.Getpid(), rand.Int())
		l, err := s.Leases.Create(ctx, lease.WithOwner())
		if err != nil {
			return err
		}
		if err := s.Leases.AddResource(ctx, l, lease.Resource{ID: key, Type: lease.SnapshotType + gc.Snapshotter}); err != nil {
			return err
		}
		if _, err := sn.Prepare(ctx, key, ""); err != nil {
			return err
		}
		if err := sn.Commit(ctx, string(i.chain), key); err != nil {
			if !errdefs.IsAlreadyExists(err) {
				return err
			}
			if err := sn.Remove(ctx, key); err != nil && !errdefs.IsNotFound(err) {
				return err
			}
		}
		if err := s.Leases.Delete(ctx, l); err != nil {
			return err
		}
	}
}

func child(t *testing.T, root string, d time.Duration, stderr *bytes.Buffer) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "GC_TEST_STORE="+root, "GC_TEST_TIME="+d.String(), "GOMAXPROCS=2")
	cmd.Stderr = stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd
}

// settled looks at a store that nobody uses any more.
func settled(t *testing.T, root string) {
	t.Helper()
	s, err := open(root, false)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Content.Close()
	found, err := s.Check(ctx, gc.CheckOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range found {
		if f.Harm {
			t.Errorf("check: %+v", f)
		}
	}
	named, err := s.Names.List(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, img := range named {
		for n := range sampleCount {
			i := makeSample(n, 20_000)
			if i.name != img.Name {
				continue
			}
			if b, _ := s.has(i); b != len(i.blobs) {
				t.Errorf("%s: %d of %d blobs are left", i.name, b, len(i.blobs))
			}
		}
	}
	// All can be pulled again, and all can go.
	for n := range sampleCount {
		if err := s.pull(makeSample(n, 20_000)); err != nil {
			t.Errorf("pull again: %v", err)
		}
		if err := s.Names.Delete(context.Background(), makeSample(n, 20_000).name); err != nil {
			t.Error(err)
		}
	}
	if _, err := s.Collect(ctx, gc.Options{KeepIngests: time.Nanosecond}); err != nil {
		t.Error(err)
	}
	for _, dir := range []string{"content/blobs/sha256", "content/labels/sha256", "content/ingest", "locks/ingest", "leases", "names", "snapshots/by-key", "snapshots/d"} {
		es, err := os.ReadDir(root + "/" + dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range es {
			if e.Name()[0] != '.' { // staged files go after an hour
				t.Errorf("left in %s: %s", dir, e.Name())
			}
		}
	}
}

func TestTenProcesses(t *testing.T) {
	root := t.TempDir()
	var children []*exec.Cmd
	outs := make([]bytes.Buffer, 10)
	for n := range 10 {
		children = append(children, child(t, root, 4*time.Second, &outs[n]))
	}
	for n, c := range children {
		if err := c.Wait(); err != nil {
			t.Errorf("%v: %s", err, outs[n].String())
		}
	}
	settled(t, root)
}

func TestKilledAtRandom(t *testing.T) {
	root := t.TempDir()
	seed := uint64(time.Now().UnixNano())
	if v := os.Getenv("BERTH_SEED"); v != "" {
		seed, _ = strconv.ParseUint(v, 10, 64)
	}
	t.Logf("BERTH_SEED=%d", seed)
	var wg sync.WaitGroup
	for lane := range uint64(4) {
		r := rand.New(rand.NewPCG(seed, lane))
		wg.Go(func() {
			for range 25 {
				var out bytes.Buffer
				c := child(t, root, time.Minute, &out)
				time.Sleep(time.Duration(20+r.IntN(130)) * time.Millisecond)
				_ = c.Process.Kill()
				err := c.Wait()
				if out.Len() > 0 {
					t.Errorf("%v: %s", err, out.String())
				}
			}
		})
	}
	wg.Wait()
	settled(t, root)
}
