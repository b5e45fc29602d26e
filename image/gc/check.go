package gc

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"berth/base/fault"
	"berth/base/ids"
	"berth/image/content"
	"berth/image/lease"
	"berth/image/manifest"
	"berth/image/names"

	"github.com/opencontainers/go-digest"
)

// Finding is one thing that Check found.
type Finding struct {
	// Object is what it is about: "blob sha256:…", "name docker.io/…",
	// "lease ID", "ingest ID", "file PATH".
	Object string
	// Problem is one line.
	Problem string
	// Harm is false for what only takes space until the next collection: it
	// is what a killed process leaves.
	Harm bool
	// Mended says what Check did about it; empty if nothing.
	Mended string
}

// CheckOptions changes a check.
type CheckOptions struct {
	// Repair takes what is broken out of the store. Broken blobs and files go
	// to the quarantine folder.
	Repair bool
	// Fast does not read the blobs.
	Fast bool
	// Progress, if it is not nil, is told how many bytes of blobs were read of
	// how many.
	Progress func(done, total int64)
}

// check is one run of Check.
type check struct {
	*Collector
	opts  CheckOptions
	found []Finding
	// What is repaired is repaired under the lock, at the end.
	repairs []repair
	bad     map[digest.Digest]bool // blobs that go
}

type repair struct {
	finding int // in found
	do      func(context.Context) (string, error)
}

// Check verifies blobs by their digests, labels, names, leases and half-written
// blobs, and that what names lead to is there. Others may use the store
// meanwhile; what they change is looked at again before it is found fault
// with. Snapshots are the snapshotter's to check. The error says what kept it
// from checking.
func (c *Collector) Check(ctx context.Context, o CheckOptions) ([]Finding, error) {
	k := &check{Collector: c, opts: o, bad: map[digest.Digest]bool{}}
	for _, part := range []func(context.Context) error{k.blobs, k.labels, k.names, k.leases, k.ingests, k.orphans} {
		if err := part(ctx); err != nil {
			return k.found, fmt.Errorf("check the image store: %w", err)
		}
	}
	if o.Repair && len(k.repairs) > 0 {
		if err := k.mend(ctx); err != nil {
			return k.found, fmt.Errorf("repair the image store: %w", err)
		}
	}
	return k.found, nil
}

// add notes a finding; do, if it is not nil, mends it.
func (k *check) add(f Finding, do func(context.Context) (string, error)) {
	k.found = append(k.found, f)
	if do != nil {
		k.repairs = append(k.repairs, repair{len(k.found) - 1, do})
	}
}

func (k *check) blobs(ctx context.Context) error {
	all, err := k.Content.Scan(ctx)
	if err != nil {
		return err
	}
	total, done := int64(0), int64(0)
	for _, b := range all {
		total += b.Size
	}
	for _, b := range all {
		switch {
		case b.Digest == "":
			k.add(Finding{Object: "file " + b.Path, Problem: "is no blob", Harm: true}, k.quarantine(b.Path))
			continue
		case b.Bad != nil:
			// An empty file is what a power cut leaves of labels that were not
			// synced yet.
			harm := !strings.HasSuffix(b.Bad.Error(), "unexpected end of JSON input")
			k.add(Finding{Object: "blob " + string(b.Digest), Problem: "its labels cannot be read: " + b.Bad.Error(), Harm: harm},
				func(ctx context.Context) (string, error) {
					return "labels removed", k.Content.DropLabels(ctx, b.Digest)
				})
		}
		if !k.opts.Fast {
			if err := k.verify(ctx, b); err != nil {
				return err
			}
		}
		done += b.Size
		if k.opts.Progress != nil {
			k.opts.Progress(done, total)
		}
	}
	return nil
}

func (k *check) verify(ctx context.Context, b content.Blob) error {
	// One that a power cut tore before it was synced never was: it goes here.
	_, err := k.Content.Info(ctx, b.Digest)
	if err == nil {
		err = k.Content.Verify(ctx, b.Digest)
	}
	if err == nil || fault.Is(err, fault.NotFound) {
		return nil
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	k.bad[b.Digest] = true
	k.add(Finding{Object: "blob " + string(b.Digest), Problem: err.Error(), Harm: true}, func(ctx context.Context) (string, error) {
		into, err := k.quarantineDir()
		if err != nil {
			return "", err
		}
		return "moved to " + into, k.Content.Evict(ctx, b.Digest, into)
	})
	return nil
}

func (k *check) labels(ctx context.Context) error {
	orphans, err := k.Content.OrphanLabels(time.Now().Add(-time.Minute))
	if err != nil {
		return err
	}
	for _, path := range orphans {
		k.add(Finding{Object: "file " + path, Problem: "labels without a blob"}, func(context.Context) (string, error) {
			return "removed", k.Content.DropOrphanLabels(path)
		})
	}
	return nil
}

func (k *check) names(ctx context.Context) error {
	imgs, problems, err := k.Names.Scan(ctx)
	if err != nil {
		return err
	}
	for _, p := range problems {
		k.file(p.Path, p.Err, func(ctx context.Context) bool {
			_, now, err := k.Names.Scan(ctx)
			return err == nil && slices.ContainsFunc(now, func(q names.Problem) bool { return q.Path == p.Path })
		})
	}
	slices.SortFunc(imgs, func(a, b names.Image) int { return strings.Compare(a.Name, b.Name) })
	for _, img := range imgs {
		lack, err := k.lacks(ctx, img)
		if err != nil {
			return err
		}
		if lack == "" {
			continue
		}
		if now, err := k.Names.Get(ctx, img.Name); err != nil || now.Target.Digest != img.Target.Digest {
			continue // removed or moved meanwhile
		}
		k.add(Finding{Object: "name " + img.Name, Problem: lack, Harm: true}, func(ctx context.Context) (string, error) {
			return "name removed", k.Names.DeleteLocked(ctx, img.Name, img.Target.Digest)
		})
	}
	return nil
}

// lacks says what an image needs that is not there: its target and, of a
// manifest, the config. A platform of an index that was not fetched and a
// layer whose blob was not kept are no lack.
func (k *check) lacks(ctx context.Context, img names.Image) (string, error) {
	d := img.Target.Digest
	ok, err := k.has(ctx, d)
	if err != nil || !ok {
		return "its target " + string(d) + " is missing", err
	}
	if !manifest.IsManifest(img.Target.MediaType) {
		return "", nil
	}
	info, err := k.Content.Info(ctx, d)
	if fault.Is(err, fault.NotFound) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	b, err := (&marker{Collector: k.Collector}).document(ctx, info)
	if err != nil || b == nil {
		return "its target " + string(d) + " is no manifest", err
	}
	doc, err := manifest.Decode(img.Target.MediaType, b)
	if err != nil {
		return "its target " + string(d) + ": " + err.Error(), nil
	}
	if ok, err := k.has(ctx, doc.Manifest.Config.Digest); err != nil || !ok {
		return "its config " + string(doc.Manifest.Config.Digest) + " is missing", err
	}
	return "", nil
}

func (k *check) has(ctx context.Context, d digest.Digest) (bool, error) {
	_, err := k.Content.Info(ctx, d)
	if fault.Is(err, fault.NotFound) || fault.Is(err, fault.Invalid) {
		return false, nil
	}
	return err == nil && !k.bad[d], err
}

// file notes a file of a name or lease that cannot be read. Only nonsense is
// taken away: what a newer version wrote, or the disk did not give, stays.
// still says whether it is so when nobody can change it any more.
func (k *check) file(path string, cause error, still func(context.Context) bool) {
	var do func(context.Context) (string, error)
	if fault.Is(cause, fault.Invalid) {
		do = func(ctx context.Context) (string, error) {
			if !still(ctx) {
				return "", fault.New(fault.Conflict, "it was written again")
			}
			return k.quarantine(path)(ctx)
		}
	}
	k.add(Finding{Object: "file " + path, Problem: cause.Error(), Harm: true}, do)
}

func (k *check) leases(ctx context.Context) error {
	all, problems, err := k.Leases.Scan(ctx)
	if err != nil {
		return err
	}
	now := time.Now()
	for _, p := range problems {
		if stat, err := os.Lstat(p.Path); err == nil && stat.Mode().IsRegular() && stat.Size() == 0 {
			// What a power cut leaves of a lease, which is not synced.
			k.add(Finding{Object: "file " + p.Path, Problem: "an empty lease"}, k.quarantine(p.Path))
			continue
		}
		k.file(p.Path, p.Err, func(ctx context.Context) bool {
			_, now, err := k.Leases.Scan(ctx)
			return err == nil && slices.ContainsFunc(now, func(q lease.Problem) bool { return q.Path == p.Path })
		})
	}
	for _, l := range all {
		dead, err := l.Dead(now)
		if err != nil {
			k.add(Finding{Object: "lease " + l.ID, Problem: err.Error(), Harm: true}, nil)
		}
		if dead {
			k.add(Finding{Object: "lease " + l.ID, Problem: "its owner is gone or its time is over"}, func(ctx context.Context) (string, error) {
				_, err := k.Leases.DeleteDead(ctx, l.ID, now)
				return "removed", err
			})
		}
	}
	return nil
}

func (k *check) ingests(ctx context.Context) error {
	all, err := k.Content.Ingests(ctx)
	if err != nil {
		return err
	}
	for _, in := range all {
		age := time.Since(in.Last)
		problem := ""
		switch {
		case in.Broken != nil && age > time.Minute:
			problem = in.Broken.Error()
		case in.Broken == nil && age > 24*time.Hour:
			problem = fmt.Sprintf("half-written (%d bytes) and not touched for %s", in.Bytes, age.Round(time.Hour))
		default:
			continue
		}
		k.add(Finding{Object: "ingest " + in.ID, Problem: problem}, func(context.Context) (string, error) {
			return "removed", k.Content.DropIngest(in.ID)
		})
	}
	return nil
}

// orphans notes what the next collection would remove.
func (k *check) orphans(ctx context.Context) error {
	plan, err := k.Collect(ctx, Options{DryRun: true})
	if err != nil {
		if fault.Is(err, fault.Unsupported) { // a newer version's name: noted above
			return nil
		}
		return err
	}
	for _, f := range plan.Freed {
		if f.Kind == BlobKind || f.Kind == SnapshotKind {
			k.add(Finding{Object: f.Kind + " " + f.ID, Problem: fmt.Sprintf("nothing leads to it (%d bytes)", f.Bytes)}, nil)
		}
	}
	return nil
}

// mend does all repairs under the exclusive lock: they are renames and removals.
func (k *check) mend(ctx context.Context) error {
	lock, err := k.exclusive(ctx)
	if err != nil {
		return err
	}
	defer lock.Unlock()
	for _, r := range k.repairs {
		what, err := r.do(ctx)
		switch {
		case err == nil:
			k.found[r.finding].Mended = what
		case fault.Is(err, fault.NotFound), fault.Is(err, fault.Conflict), fault.Is(err, fault.Busy):
			k.found[r.finding].Mended = "changed meanwhile"
		default:
			return fmt.Errorf("%s: %w", k.found[r.finding].Object, err)
		}
	}
	return nil
}

// quarantine moves a file out of the store.
func (k *check) quarantine(path string) func(context.Context) (string, error) {
	return func(context.Context) (string, error) {
		into, err := k.quarantineDir()
		if err != nil {
			return "", err
		}
		return "moved to " + into, os.Rename(path, filepath.Join(into, filepath.Base(path)+"."+ids.Hex(4)))
	}
}

func (k *check) quarantineDir() (string, error) {
	if err := os.MkdirAll(k.Quarantine, 0o700); err != nil {
		return "", fmt.Errorf("make the quarantine: %w", err)
	}
	return k.Quarantine, nil
}
