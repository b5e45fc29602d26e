package manifest

import (
	"strings"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/base/fault"
)

// referenceType is BuildKit's annotation on an index entry that is about
// another entry.
const referenceType = "vnd.docker.reference.type"

// IsAttestation says that an entry of an index is BuildKit's statement about
// another entry and no image.
func IsAttestation(d v1.Descriptor) bool {
	return d.Annotations[referenceType] != "" ||
		d.Platform != nil && d.Platform.OS == "unknown" && d.Platform.Architecture == "unknown"
}

// Images returns the entries of an index that may be images: manifests and
// nested indexes, no attestations, no artifacts.
func Images(x *v1.Index) []v1.Descriptor {
	var list []v1.Descriptor
	for _, d := range x.Manifests {
		if (IsManifest(d.MediaType) || IsIndex(d.MediaType)) && d.ArtifactType == "" && !IsAttestation(d) {
			list = append(list, d)
		}
	}
	return list
}

// Select returns the entry of an index that fits a platform best, the first of
// equals. An entry that names no platform is taken only if no other fits.
// Error: NotFound, docker's words and what there is.
func Select(x *v1.Index, want Platform) (v1.Descriptor, error) {
	best, bestRank := v1.Descriptor{}, -1
	var unnamed *v1.Descriptor
	var have []string
	for _, d := range Images(x) {
		if d.Platform == nil {
			if unnamed == nil {
				unnamed = &d
			}
			continue
		}
		have = append(have, PlatformString(*d.Platform))
		if r := Rank(want, *d.Platform); r >= 0 && (bestRank < 0 || r < bestRank) {
			best, bestRank = d, r
		}
	}
	switch {
	case bestRank >= 0:
		return best, nil
	case unnamed != nil:
		return *unnamed, nil
	case len(have) == 0:
		have = []string{"no image"}
	}
	return v1.Descriptor{}, fault.New(fault.NotFound,
		"no matching manifest for %s in the manifest list entries: it has %.500s",
		PlatformString(Normalize(want)), strings.Join(have, ", "))
}
