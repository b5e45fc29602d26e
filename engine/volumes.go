package engine

import (
	"context"
	"slices"
	"strings"

	"berth/base/fault"
	"berth/container"
	"berth/volume"
)

// VolumeInfo is a volume and who uses it.
type VolumeInfo struct {
	volume.Volume
	Users []string // ids of containers
}

// VolumeCreate makes a volume; of one that is there it only gives the name.
func VolumeCreate(ctx context.Context, e *Engine, r volume.CreateRequest) (string, error) {
	v, made, err := e.Volumes.Create(ctx, r)
	if err != nil {
		return "", err
	}
	if made {
		e.tellOf("volume", "create", v.Name, map[string]string{"driver": v.Driver})
	}
	return v.Name, nil
}

// Volumes lists the volumes that pass the filters: name, driver, label, dangling.
func Volumes(ctx context.Context, e *Engine, filters map[string][]string) ([]VolumeInfo, error) {
	e.sweep(ctx)
	all, err := e.Volumes.List()
	if err != nil {
		return nil, err
	}
	containers, err := e.Containers.List(ctx)
	if err != nil {
		return nil, err
	}
	users := volumeUsers(containers)
	var out []VolumeInfo
	for i := range all {
		v := VolumeInfo{all[i], users[all[i].Name]}
		ok, err := volumeFits(&v, filters)
		if err != nil {
			return nil, err
		}
		if ok {
			out = append(out, v)
		}
	}
	return out, nil
}

func volumeFits(v *VolumeInfo, filters map[string][]string) (bool, error) {
	for key, values := range filters {
		for _, value := range values {
			switch key {
			case "name", "driver", "label", "label!":
			case "dangling":
				if value != "true" && value != "1" && value != "false" && value != "0" {
					return false, fault.New(fault.Invalid, "Invalid filter 'dangling=%s'", value)
				}
			default:
				return false, fault.New(fault.Invalid, "Invalid filter '%s'", key)
			}
		}
		fits := slices.ContainsFunc(values, func(value string) bool {
			switch key {
			case "name":
				return strings.Contains(v.Name, value)
			case "driver":
				return v.Driver == value
			case "dangling":
				return (len(v.Users) == 0) == (value == "true" || value == "1")
			}
			return HasLabel(v.Labels, value) != strings.HasSuffix(key, "!")
		})
		if !fits {
			return false, nil
		}
	}
	return true, nil
}

// VolumeInspect tells of one volume.
func VolumeInspect(ctx context.Context, e *Engine, name string) (*VolumeInfo, error) {
	v, err := e.Volumes.Get(name)
	if err != nil {
		return nil, err
	}
	users, err := e.volumeUsersBut(ctx, "")(name)
	if err != nil {
		return nil, err
	}
	return &VolumeInfo{*v, users}, nil
}

// VolumeRemove removes a volume that nobody uses; with force one that is not
// there is no error.
func VolumeRemove(ctx context.Context, e *Engine, name string, force bool) error {
	err := e.Volumes.Remove(ctx, name, e.volumeUsersBut(ctx, ""))
	if force && fault.Is(err, fault.NotFound) {
		return nil
	}
	if err == nil {
		e.tellOf("volume", "destroy", name, nil)
	}
	return err
}

// VolumePrune removes volumes that nobody uses: the anonymous ones, and with the
// filter all=true the named ones too.
func VolumePrune(ctx context.Context, e *Engine, filters map[string][]string) (volume.Pruned, error) {
	all, err := PrunesNamed(filters)
	if err != nil {
		return volume.Pruned{}, err
	}
	rest := map[string][]string{}
	for k, v := range filters {
		if k != "all" {
			rest[k] = v
		}
	}
	if _, err := volumeFits(&VolumeInfo{}, rest); err != nil {
		return volume.Pruned{}, err
	}
	e.sweep(ctx)
	return e.Volumes.Prune(ctx, all, e.volumeUsersBut(ctx, ""), func(v *volume.Volume) bool {
		fits, err := volumeFits(&VolumeInfo{Volume: *v}, rest)
		return err != nil || !fits
	})
}

// PrunesNamed tells whether the filters of a prune are for named volumes, too.
func PrunesNamed(filters map[string][]string) (all bool, err error) {
	for _, value := range filters["all"] {
		switch value {
		case "true", "1":
			all = true
		case "false", "0":
		default:
			return false, fault.New(fault.Invalid, "Invalid filter 'all=%s'", value)
		}
	}
	return all, nil
}

// VolumeRename gives a volume that nobody uses another name.
func VolumeRename(ctx context.Context, e *Engine, name, to string) error {
	return e.Volumes.Rename(ctx, name, to, e.volumeUsersBut(ctx, ""))
}

// volumeUsersBut tells which containers use a volume, besides one: those that are
// being made, too.
func (e *Engine) volumeUsersBut(ctx context.Context, but container.ID) volume.InUse {
	users := e.usersOfVolume(ctx, but, func(*container.Summary) bool { return true })
	return func(name string) ([]string, error) {
		coming, err := e.Containers.Intents()
		if err != nil {
			return nil, err
		}
		var out []string
		for id, i := range coming {
			if id != but && (slices.Contains(i.Made, name) || slices.Contains(i.Uses, name)) {
				out = append(out, string(id))
			}
		}
		made, err := users(name) // asked last: one of those may be made by now
		return append(out, made...), err
	}
}

func (e *Engine) usersOfVolume(ctx context.Context, but container.ID, counts func(*container.Summary) bool) volume.InUse {
	return func(name string) ([]string, error) {
		all, err := e.Containers.List(ctx)
		if err != nil {
			return nil, err
		}
		var users []string
		for i := range all {
			if all[i].ID != but && slices.Contains(all[i].Volumes, name) && counts(&all[i]) {
				users = append(users, string(all[i].ID))
			}
		}
		return users, nil
	}
}
