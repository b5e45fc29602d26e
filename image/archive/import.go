package archive

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/base/fault"
	"berth/image/manifest"
)

// ImportOptions says what the image of a root file system is to be.
type ImportOptions struct {
	Changes  []string // instructions of a Dockerfile (manifest.Change)
	Message  string   // the comment of its one line of history
	Author   string
	Platform manifest.Platform // zero: the host's
	Created  time.Time
	Limits   LoadOptions
}

// Import makes an image of one layer out of the tar of a root file system,
// compressed or not. The tar's entries are looked at when it is unpacked.
// Errors: Invalid for what is no tar and for bad changes, else those of reader
// and store.
func Import(ctx context.Context, store Store, r io.Reader, opts ImportOptions) (img Image, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("import root file system: %w", err)
		}
	}()
	config := manifest.Config{Author: opts.Author, History: []v1.History{{Created: &opts.Created, Comment: opts.Message}}}
	if err := manifest.Change(&config.Defaults, opts.Changes); err != nil {
		return Image{}, err
	}
	in := newIngest(store, opts.Limits)
	layer, err := in.root(ctx, r)
	if err != nil {
		return Image{}, err
	}
	p := opts.Platform
	if p.OS == "" {
		p = manifest.Host()
	}
	config.Created = &opts.Created
	config.OS, config.Architecture, config.Variant, config.OSVersion = p.OS, p.Architecture, p.Variant, p.OSVersion
	config.RootFS.DiffIDs = []digest.Digest{layer.Digest}
	made, err := manifest.NewConfig(config)
	if err != nil {
		return Image{}, err
	}
	desc := v1.Descriptor{MediaType: manifest.DockerConfig, Digest: made.Digest(), Size: int64(len(made.Raw()))}
	if err := in.bytes(ctx, desc, made.Raw(), nil); err != nil {
		return Image{}, err
	}
	doc, err := manifest.NewManifest(v1.Manifest{MediaType: manifest.DockerManifest, Config: desc, Layers: []v1.Descriptor{layer}})
	if err != nil {
		return Image{}, err
	}
	return Image{Target: doc.Descriptor(), Kind: doc.Kind()}, in.document(ctx, doc)
}

// root stores the tar uncompressed: its digest is then the layer's diff id.
func (in *ingest) root(ctx context.Context, r io.Reader) (v1.Descriptor, error) {
	raw := &counted{r: r}
	plain, err := decompress(raw)
	if err != nil {
		return v1.Descriptor{}, err
	}
	defer plain.Close()
	body := bufio.NewReaderSize(&bounded{r: plain, in: raw, opts: in.opts}, bufferSize)
	head, err := body.Peek(512)
	if err != nil && err != io.EOF {
		return v1.Descriptor{}, err
	}
	if !isTar(head) {
		return v1.Descriptor{}, fault.New(fault.Invalid, "it is no tar")
	}
	b, err := in.put(ctx, "the root file system", body, -1, "")
	if err != nil {
		return v1.Descriptor{}, err
	}
	err = in.label(ctx, b.digest, map[string]string{manifest.UncompressedLabel: string(b.digest)})
	return v1.Descriptor{MediaType: manifest.DockerLayer, Digest: b.digest, Size: b.size}, err
}

// isTar looks at the checksum of the first header, or at a block of zeros: the
// tar of nothing (POSIX pax, "ustar Interchange Format").
func isTar(head []byte) bool {
	if len(head) < 512 {
		return false
	}
	total := int64(0)
	for i, b := range head {
		if 148 <= i && i < 156 {
			b = ' '
		}
		total += int64(b)
	}
	if total == 8*' ' {
		return true
	}
	field := strings.Trim(string(head[148:156]), " \x00")
	want, err := strconv.ParseInt(field, 8, 64)
	return err == nil && want == total
}
