package archive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"

	"berth/base/fault"
	"berth/image/manifest"
)

// openFolder reads the documents of an OCI layout, or of an unpacked
// docker-archive, and leaves the rest for when it is named. Links are followed
// inside the folder only (os.Root).
func openFolder(in *ingest, root *os.Root) (*files, error) {
	f := newFiles()
	for _, name := range []string{dockerFile, legacyFile, layoutFile, indexFile} {
		raw, err := readDocument(root, name)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		f.docs[name] = raw
	}
	f.open = func(ctx context.Context, name string) (b blob, err error) {
		expected, err := expectedDigest(name)
		if err != nil {
			return blob{}, err
		}
		file, size, err := openRegular(root, name)
		if errors.Is(err, os.ErrNotExist) {
			return blob{}, fault.New(fault.NotFound, "%.200q is missing in the folder", name)
		}
		if err != nil {
			return blob{}, err
		}
		defer func() { err = errors.Join(err, file.Close()) }()
		if isConfigName(name) && size > manifest.MaxSize || size > in.opts.MaxBytes {
			return blob{}, fault.New(fault.Invalid, "%.200q: %d bytes are too many", name, size)
		}
		return in.put(ctx, name, io.LimitReader(file, size), size, expected)
	}
	return f, nil
}

// openRegular opens a file without waiting at a FIFO.
func openRegular(root *os.Root, name string) (*os.File, int64, error) {
	f, err := root.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, 0, fmt.Errorf("open %.200q: %w", name, err)
	}
	st, err := f.Stat()
	if err == nil && !st.Mode().IsRegular() {
		err = fault.New(fault.Invalid, "%.200q is no file", name)
	}
	if err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	return f, st.Size(), nil
}

func readDocument(root *os.Root, name string) (raw []byte, err error) {
	f, _, err := openRegular(root, name)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	raw, err = io.ReadAll(io.LimitReader(f, manifest.MaxSize+1))
	if err == nil && len(raw) > manifest.MaxSize {
		err = fault.New(fault.Invalid, "%s: more than %d bytes", name, manifest.MaxSize)
	}
	return raw, err
}

// layoutEntries are the images of a folder that is an OCI layout already.
func layoutEntries(root *os.Root) ([]v1.Descriptor, error) {
	raw, err := readDocument(root, indexFile)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	doc, err := manifest.Decode("", raw)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", indexFile, err)
	}
	if doc.Index == nil {
		return nil, fault.New(fault.Invalid, "%s is no index", indexFile)
	}
	return doc.Index.Manifests, nil
}
