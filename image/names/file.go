package names

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"berth/base/atomicfile"
	"berth/base/fault"
	"berth/base/ids"
	"berth/sys/stamp"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"
)

const (
	version  = 1
	maxFile  = 1 << 20 // bytes of one name's file
	maxName  = 4096
	maxLabel = 4096 // bytes of one key and its value, as containerd has it
	readers  = 4    // goroutines that read a list
)

// record is a name's file.
type record struct {
	Version int                `json:"version"`
	Name    string             `json:"name"`
	Target  ocispec.Descriptor `json:"target"`
	Labels  map[string]string  `json:"labels,omitempty"`
	Created time.Time          `json:"created"`
	Updated time.Time          `json:"updated"`
}

// parse reads a name's file; file is its name on disk, which must be right for
// the image's name.
func parse(file string, b []byte) (Image, error) {
	r, ok := quick(b)
	if !ok {
		r = record{}
		if err := json.Unmarshal(b, &r); err != nil {
			return Image{}, fault.New(fault.Invalid, "%w", err)
		}
	}
	if r.Version != version {
		return Image{}, fault.New(fault.Unsupported, "version %d is not known", r.Version)
	}
	if want, _ := fileOf(r.Name); want != file {
		return Image{}, fault.New(fault.Invalid, "it holds another name, %.200q", r.Name)
	}
	img := Image{Name: r.Name, Target: r.Target, Labels: r.Labels, CreatedAt: r.Created, UpdatedAt: r.Updated}
	if err := check(img); err != nil {
		return Image{}, err
	}
	return img, nil
}

// check refuses what may not be stored.
func check(img Image) error {
	bad := func(format string, args ...any) error {
		return fault.New(fault.Invalid, format+": %w", append(args, errdefs.ErrInvalidArgument)...)
	}
	if img.Name == "" || len(img.Name) > maxName {
		return bad("a name of %d bytes", len(img.Name))
	}
	if !isDigest(img.Target.Digest) {
		return bad("image %.200q: target has digest %.140q", img.Name, string(img.Target.Digest))
	}
	if img.Target.Size <= 0 || img.Target.MediaType == "" {
		return bad("image %.200q: target has size %d and media type %.100q", img.Name, img.Target.Size, img.Target.MediaType)
	}
	for k, v := range img.Labels {
		if len(k)+len(v) > maxLabel {
			return bad("image %.200q: label %.64q is longer than %d bytes", img.Name, k, maxLabel)
		}
	}
	return nil
}

// isDigest accepts what the content store can hold.
func isDigest(d digest.Digest) bool {
	algorithm, encoded, _ := strings.Cut(string(d), ":")
	if !(algorithm == "sha256" && len(encoded) == 64 || algorithm == "sha512" && len(encoded) == 128) {
		return false
	}
	for i := range len(encoded) {
		if c := encoded[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// stage writes the file of a name under a name that lists skip.
func (s *Store) stage(img Image, durable bool) (path string, err error) {
	labels := maps.Clone(img.Labels)
	maps.DeleteFunc(labels, func(_, v string) bool { return v == "" })
	b, err := json.Marshal(record{
		Version: version, Name: img.Name, Target: img.Target, Labels: labels,
		Created: img.CreatedAt.UTC(), Updated: img.UpdatedAt.UTC(),
	})
	if err != nil {
		return "", err
	}
	if len(b) > maxFile {
		return "", fault.New(fault.Invalid, "labels and annotations take %d bytes: %w", len(b), errdefs.ErrInvalidArgument)
	}
	path = s.path(stagePrefix + ids.Hex(8))
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return "", err
	}
	_, err = f.Write(b)
	if err == nil && durable {
		err = f.Sync()
	}
	if closing := f.Close(); err == nil {
		err = closing
	}
	if err != nil {
		_ = os.Remove(path)
		return "", err
	}
	return path, nil
}

// stagePrefix is what base/atomicfile.IsStaged knows, too.
const stagePrefix = ".stage-"

func (s *Store) syncDir() error {
	if s.lazy {
		return nil
	}
	return s.Sync()
}

// syncAll makes many staged files durable at once (syncfs(2)).
func (s *Store) syncAll() error {
	d, err := os.Open(s.opts.Dir)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := unix.Syncfs(int(d.Fd())); err != nil {
		return fmt.Errorf("syncfs %s: %w", s.opts.Dir, err)
	}
	return nil
}

func readFile(dir, file string) (Image, error) {
	path := filepath.Join(dir, file)
	b, err := atomicfile.ReadCapped(path, maxFile)
	if err != nil {
		return Image{}, err
	}
	img, err := parse(file, b)
	if err != nil {
		return Image{}, fmt.Errorf("name %s: %w", path, err)
	}
	return img, nil
}

// Problem is a file among the names that holds none.
type Problem struct {
	Path string
	Err  error
}

// Scan is List for the collector and for checks: it also gives the files that
// cannot be read, in no order. Staged files are none of them.
func (s *Store) Scan(ctx context.Context) ([]Image, []Problem, error) {
	all, problems, err := scan(ctx, s, nil)
	out := make([]Image, len(all))
	for i := range all {
		out[i] = all[i].Image
	}
	return out, problems, err
}

// Listed is a name and what its file looked like when it was read; Stamp is the
// zero Stamp if the file could be replaced without a trace.
type Listed struct {
	Image
	File  string
	Stamp stamp.Stamp
}

// ListKnown lists all names, sorted. It reads only files that are not in known,
// by their File, or are others since; news is how many of these have a stamp.
// whole says that each file was read and has one.
func (s *Store) ListKnown(ctx context.Context, known map[string]Listed) (all []Listed, news int, whole bool, err error) {
	if known == nil {
		known = map[string]Listed{}
	}
	all, problems, err := scan(ctx, s, known)
	if err != nil {
		return nil, 0, false, fmt.Errorf("list images: %w", err)
	}
	for _, p := range problems {
		s.bad(p.Err)
	}
	whole = len(problems) == 0
	for i := range all {
		switch seen := all[i].Stamp; {
		case seen == (stamp.Stamp{}):
			whole = false
		case known[all[i].File].Stamp != seen:
			news++
		}
	}
	slices.SortFunc(all, func(a, b Listed) int { return strings.Compare(a.Name, b.Name) })
	return all, news, whole, nil
}

// scan reads all names but the known ones. Without any, stamps are not looked for.
func scan(ctx context.Context, s *Store, known map[string]Listed) ([]Listed, []Problem, error) {
	d, err := os.Open(s.opts.Dir)
	if err != nil {
		return nil, nil, err
	}
	defer d.Close()
	files, err := d.Readdirnames(-1)
	if err != nil {
		return nil, nil, err
	}
	workers := min(readers, len(files)/64+1)
	all, errs := make([]Listed, len(files)), make([]error, len(files))
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			buf := make([]byte, 8<<10)
			for i := w; i < len(files); i += workers {
				if atomicfile.IsStaged(files[i]) {
					continue
				}
				if known != nil {
					if k, ok := known[files[i]]; lookedAt(int(d.Fd()), files[i], &all[i]) && ok && k.Stamp == all[i].Stamp {
						all[i] = k
						continue
					}
				}
				all[i].File = files[i]
				all[i].Image, errs[i] = s.readListed(int(d.Fd()), files[i], buf)
			}
		})
	}
	wg.Wait()
	kept := all[:0]
	var problems []Problem
	for i, img := range all {
		switch {
		case errs[i] == nil && img.Name != "":
			kept = append(kept, img)
		case errs[i] != nil && !fault.Is(errs[i], fault.NotFound): // or removed while we listed
			problems = append(problems, Problem{s.path(files[i]), errs[i]})
		}
	}
	return kept, problems, ctx.Err()
}

// lookedAt notes a file's stamp before it is read, if it can be trusted.
func lookedAt(dir int, file string, l *Listed) bool {
	now := time.Now()
	seen, err := stamp.At(dir, file)
	if err != nil || !seen.Settled(now) {
		return false
	}
	l.Stamp = seen
	return true
}

// readListed reads a file for a list, with few system calls: they are most of
// what a list costs. buf is scratch.
func (s *Store) readListed(dir int, file string, buf []byte) (Image, error) {
	n, err := readSmall(dir, file, buf)
	if err != nil {
		return Image{}, fmt.Errorf("name %s: %w", s.path(file), err)
	}
	if n == len(buf) { // it did not fit, or just so
		return readFile(s.opts.Dir, file)
	}
	img, err := parse(file, buf[:n])
	if err != nil {
		return Image{}, fmt.Errorf("name %s: %w", s.path(file), err)
	}
	return img, nil
}

// Strays removes staged files that a killed process left before limit, and
// reports how many.
func (s *Store) Strays(limit time.Time) (int, error) {
	entries, err := os.ReadDir(s.opts.Dir)
	if err != nil {
		return 0, fmt.Errorf("look for stray names: %w", err)
	}
	n := 0
	for _, e := range entries {
		if !atomicfile.IsStaged(e.Name()) {
			continue
		}
		if stat, err := e.Info(); err != nil || !stat.ModTime().Before(limit) {
			continue
		}
		if os.Remove(s.path(e.Name())) == nil {
			n++
		}
	}
	return n, nil
}

// readSmall reads the beginning of a file below a folder. O_NONBLOCK is for
// whatever may stand there instead of a file.
func readSmall(dir int, file string, buf []byte) (int, error) {
	fd, err := unix.Openat(dir, file, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return 0, err
	}
	defer unix.Close(fd)
	for {
		n, err := unix.Read(fd, buf)
		if err != unix.EINTR {
			return n, err
		}
	}
}

// merged is now with the fields of next that fieldpaths name.
func merged(now, next Image, fieldpaths []string) (Image, error) {
	if len(fieldpaths) == 0 {
		return next, nil
	}
	now.Labels = cloned(now.Labels)
	now.Target.Annotations = cloned(now.Target.Annotations)
	for _, p := range fieldpaths {
		label, isLabel := strings.CutPrefix(p, "labels.")
		annotation, isAnnotation := strings.CutPrefix(p, "annotations.")
		switch {
		case isLabel:
			now.Labels[label] = next.Labels[label]
		case isAnnotation:
			now.Target.Annotations[annotation] = next.Target.Annotations[annotation]
		case p == "labels":
			now.Labels = cloned(next.Labels)
		case p == "target":
			now.Target = next.Target
			now.Target.Annotations = cloned(next.Target.Annotations)
		case p == "annotations":
			now.Target.Annotations = cloned(next.Target.Annotations)
		default:
			return Image{}, fault.New(fault.Invalid, "field %q cannot be changed: %w", p, errdefs.ErrInvalidArgument)
		}
	}
	maps.DeleteFunc(now.Labels, func(_, v string) bool { return v == "" })
	return now, nil
}

func cloned(m map[string]string) map[string]string {
	if m == nil {
		return map[string]string{}
	}
	return maps.Clone(m)
}
