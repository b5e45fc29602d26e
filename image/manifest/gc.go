package manifest

import (
	"strconv"
)

// Labels of the content store that tie a document to what it needs, so that a
// collector keeps both. containerd's words (docs/garbage-collection.md).
const (
	GCRefContent      = "containerd.io/gc.ref.content."
	UncompressedLabel = "containerd.io/uncompressed" // on a layer blob: its diff id
	SourceLabel       = "containerd.io/distribution.source."
)

// GCLabels returns the labels that a document's blob carries to keep its
// children: gc.ref.content.m.N, .config, .l.N. keep says which children are
// there to be kept; nil means all.
func (d *Document) GCLabels(keep func(i int) bool) map[string]string {
	labels := map[string]string{}
	for i, c := range d.Children() {
		if keep != nil && !keep(i) {
			continue
		}
		labels[GCRefContent+d.childName(i)] = string(c.Digest)
	}
	return labels
}

func (d *Document) childName(i int) string {
	switch {
	case d.Index != nil:
		return "m." + strconv.Itoa(i)
	case i == 0:
		return "config"
	}
	return "l." + strconv.Itoa(i-1)
}
