package credential

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"berth/base/atomicfile"
	"berth/base/fault"
)

// The caps on an auth file.
const (
	maxFile = 1 << 20
	maxKeys = 10_000
)

// file is an auth file with all that it holds.
type file struct {
	path        string
	whole       map[string]json.RawMessage
	raw         map[string]json.RawMessage // auths as they stand
	Auths       map[string]entry
	CredsStore  string
	CredHelpers map[string]string
	addresses   []string // keys of auths that are whole URLs
}

// readFile reads an auth file; one that is missing or empty knows nothing.
func readFile(path string) (*file, error) {
	data, err := atomicfile.ReadCapped(path, maxFile)
	if fault.Is(err, fault.NotFound) {
		return parse(path, nil)
	}
	if err != nil {
		return nil, err
	}
	return parse(path, data)
}

func parse(path string, data []byte) (*file, error) {
	f := &file{path: path, whole: map[string]json.RawMessage{}, raw: map[string]json.RawMessage{}, Auths: map[string]entry{}}
	if len(bytes.TrimSpace(data)) == 0 {
		return f, nil
	}
	if err := json.Unmarshal(data, &f.whole); err != nil {
		return nil, fault.New(fault.Invalid, "read %s: %w", path, err)
	}
	if f.whole == nil { // the document "null"
		f.whole = map[string]json.RawMessage{}
	}
	for key, to := range map[string]any{"auths": &f.raw, "credsStore": &f.CredsStore, "credHelpers": &f.CredHelpers} {
		if v, ok := f.whole[key]; ok {
			if err := json.Unmarshal(v, to); err != nil {
				return nil, fault.New(fault.Invalid, "read %s: key %s: %w", path, key, err)
			}
		}
	}
	if len(f.raw) > maxKeys || len(f.CredHelpers) > maxKeys {
		return nil, fault.New(fault.Invalid, "read %s: more than %d registries", path, maxKeys)
	}
	for key, v := range f.raw {
		var e entry
		if err := json.Unmarshal(v, &e); err != nil {
			return nil, fault.New(fault.Invalid, "read %s: key auths.%q: %w", path, key, err)
		}
		f.Auths[key] = e
		if strings.Contains(key, "://") {
			f.addresses = append(f.addresses, key)
		}
	}
	slices.Sort(f.addresses)
	return f, nil
}

// program is the credential program that keeps key's secret, or "".
func (f *file) program(key string) string {
	for _, k := range []string{key, serverOf(key)} {
		if p := f.CredHelpers[k]; p != "" {
			return p
		}
	}
	return f.CredsStore
}

// put sets an entry of auths.
func (f *file) put(key string, c Credential) error {
	e, err := entryOf(c)
	if err != nil {
		return err
	}
	f.drop(key)
	if f.raw == nil { // "auths": null
		f.raw = map[string]json.RawMessage{}
	}
	f.raw[key] = e
	return nil
}

// mark notes without secret that a program keeps one, as docker does: logout
// and lists find it there.
func (f *file) mark(key string) error {
	if f.raw == nil {
		f.raw = map[string]json.RawMessage{}
	}
	f.raw[key] = json.RawMessage("{}")
	return nil
}

// drop removes what any age of file has for key.
func (f *file) drop(key string) (found bool) {
	for _, k := range slices.Collect(maps.Keys(f.raw)) {
		if k == key || normal(k) == normal(key) {
			delete(f.raw, k)
			found = true
		}
	}
	return found
}

// encode is the whole file with the changed auths. Without HTML escapes and
// with docker's tab: people read it.
func (f *file) encode() ([]byte, error) {
	if _, had := f.whole["auths"]; had || len(f.raw) > 0 {
		b, err := json.Marshal(f.raw)
		if err != nil {
			return nil, err
		}
		f.whole["auths"] = b
	}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "\t")
	err := enc.Encode(f.whole)
	return out.Bytes(), err
}

// change rewrites the file at path under a lock on its folder: two logins at
// once keep both entries, and no lock file stays behind. A link is followed,
// not replaced.
func change(path string, edit func(*file) error) error {
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target
	}
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("change %s: %w", path, err)
	}
	unlock, err := lockFolder(dir)
	if err != nil {
		return fmt.Errorf("change %s: %w", path, err)
	}
	defer unlock()
	f, err := readFile(path)
	if err != nil {
		return err
	}
	if err := edit(f); err != nil {
		return err
	}
	data, err := f.encode()
	if err != nil {
		return fmt.Errorf("change %s: %w", path, err)
	}
	if len(data) > maxFile {
		return fault.New(fault.Invalid, "change %s: larger than %d bytes", path, maxFile)
	}
	return atomicfile.Write(path, data, 0o600, atomicfile.Sync)
}

// lockFolder is flock(2) on the folder itself.
func lockFolder(dir string) (unlock func(), err error) {
	d, err := os.OpenFile(dir, os.O_RDONLY|syscall.O_DIRECTORY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	for {
		if err = syscall.Flock(int(d.Fd()), syscall.LOCK_EX); !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	if err != nil {
		d.Close()
		return nil, fmt.Errorf("lock %s: %w", dir, err)
	}
	return func() { d.Close() }, nil
}
