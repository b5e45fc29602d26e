package manifest

import (
	"slices"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/base/fault"
)

// ToOCI says a manifest in OCI's media types; the blobs stay as they are.
func ToOCI(m v1.Manifest) v1.Manifest {
	m.MediaType, m.Config.MediaType = v1.MediaTypeImageManifest, v1.MediaTypeImageConfig
	m.Layers = slices.Clone(m.Layers)
	for i := range m.Layers {
		l, ok := LayerOf(m.Layers[i].MediaType)
		switch {
		case ok && l.Foreign:
			m.Layers[i].MediaType = ociForeign + "+gzip"
		case ok:
			m.Layers[i].MediaType = LayerType(l.Compression)
		}
	}
	return m
}

// ToDocker says a manifest in Docker's media types. Errors: Unsupported for
// what they have no word for, as layers in zstd.
func ToDocker(m v1.Manifest) (v1.Manifest, error) {
	if !IsConfig(m.Config.MediaType) || m.ArtifactType != "" || m.Subject != nil {
		return m, fault.New(fault.Unsupported, "an artifact cannot be written as a manifest of Docker's")
	}
	m.MediaType, m.Config.MediaType, m.Annotations = DockerManifest, DockerConfig, nil
	m.Layers = slices.Clone(m.Layers)
	for i, old := range m.Layers {
		l, ok := LayerOf(old.MediaType)
		switch {
		case ok && l.Foreign:
			m.Layers[i].MediaType = DockerForeignLayer
		case ok && l.Compression == Uncompressed:
			m.Layers[i].MediaType = DockerLayer
		case ok && l.Compression == Gzip:
			m.Layers[i].MediaType = DockerLayerGzip
		default:
			return m, fault.New(fault.Unsupported, "layer %s of type %.100q cannot stand in a manifest of Docker's", old.Digest, old.MediaType)
		}
	}
	return m, nil
}

// HasDockerZstd says that a manifest has layers that Docker's words know no
// type for that others read.
func HasDockerZstd(m *v1.Manifest) bool {
	return slices.ContainsFunc(m.Layers, func(d v1.Descriptor) bool { return d.MediaType == DockerLayerZstd })
}
