package volumes

import (
	"context"
	"io"

	"berth/engine"
	"berth/volume"
)

// live is Engine on the engine of this machine.
type live struct{ e *engine.Engine }

func (l live) VolumeCreate(ctx context.Context, v Volume) (string, error) {
	return engine.VolumeCreate(ctx, l.e, volume.CreateRequest{Name: v.Name, Driver: v.Driver, Labels: v.Labels, Options: v.Options})
}

func (l live) VolumeList(ctx context.Context, filters map[string][]string) ([]Volume, error) {
	all, err := engine.Volumes(ctx, l.e, filters)
	if err != nil {
		return nil, err
	}
	var out []Volume
	for _, v := range all {
		out = append(out, volumeOf(&v))
	}
	return out, nil
}

func volumeOf(v *engine.VolumeInfo) Volume {
	return Volume{Name: v.Name, Driver: v.Driver, Mountpoint: v.Data, Created: v.Created, Labels: v.Labels, Options: v.Options, Users: len(v.Users), Size: -1}
}

func (l live) VolumeInspect(ctx context.Context, name string) (Volume, error) {
	v, err := engine.VolumeInspect(ctx, l.e, name)
	if err != nil {
		return Volume{}, err
	}
	return volumeOf(v), nil
}

func (l live) VolumeRemove(ctx context.Context, name string, force bool) error {
	return engine.VolumeRemove(ctx, l.e, name, force)
}

func (l live) VolumePrune(ctx context.Context, filters map[string][]string) ([]string, int64, error) {
	p, err := engine.VolumePrune(ctx, l.e, filters)
	return p.Names, p.Bytes, err
}

func (l live) VolumeRename(ctx context.Context, name, newName string) error {
	return engine.VolumeRename(ctx, l.e, name, newName)
}

func (l live) VolumeExport(ctx context.Context, name string, w io.Writer) error {
	return l.e.Volumes.Export(ctx, name, w)
}

func (l live) VolumeImport(ctx context.Context, name string, r io.Reader) error {
	return l.e.Volumes.Import(ctx, name, r)
}
