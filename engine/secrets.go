package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"berth/base/atomicfile"
	"berth/base/fault"
	"berth/container"
	"berth/container/config"
	"berth/secret"
)

// SecretCreate makes a secret and gives its id.
func SecretCreate(_ context.Context, e *Engine, s secret.Secret, replace bool) (id string, err error) {
	made, err := e.Secrets.Create(s, replace)
	if err != nil {
		return "", err
	}
	e.tellOf("secret", "create", made.ID, map[string]string{"name": made.Name})
	return made.ID, nil
}

// SecretRemove removes a secret; containers that were made with it keep theirs.
func SecretRemove(_ context.Context, e *Engine, name string) (id string, err error) {
	if id, err = e.Secrets.Remove(name); err == nil {
		e.tellOf("secret", "remove", id, map[string]string{"name": name})
	}
	return id, err
}

// Secrets lists the secrets that pass the filters: name, id, label.
func Secrets(_ context.Context, e *Engine, filters map[string][]string) ([]secret.Secret, error) {
	for key := range filters {
		if !slices.Contains([]string{"name", "id", "label"}, key) {
			return nil, fault.New(fault.Invalid, "invalid filter %q", key)
		}
	}
	all, err := e.Secrets.List()
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(all, func(s secret.Secret) bool {
		for key, values := range filters {
			fits := slices.ContainsFunc(values, func(v string) bool {
				switch key {
				case "name":
					return strings.Contains(s.Name, v)
				case "id":
					return strings.HasPrefix(s.ID, v)
				}
				return HasLabel(s.Labels, v)
			})
			if !fits {
				return true
			}
		}
		return false
	}), nil
}

// keptSecret is what a container has of one secret: the bytes that it had when
// the container was made.
type keptSecret struct {
	Name string `json:"name"`
	Data []byte `json:"data"`
}

const (
	secretsFile   = "secrets.json" // in the container's folder
	secretsFolder = "secrets"      // in its run folder, while it runs
	secretsTarget = "/run/secrets"
	maxSecrets    = 100
	maxKept       = maxSecrets * 2 * secret.MaxData
)

// findSecrets looks the secrets of a container up, and settles their ids and
// targets.
func findSecrets(e *Engine, c *config.Config) ([]keptSecret, error) {
	if len(c.Life.Secrets) > maxSecrets {
		return nil, fault.New(fault.Invalid, "more than %d secrets for one container", maxSecrets)
	}
	var kept []keptSecret
	c.Life.Secrets = slices.Clone(c.Life.Secrets)
	taken := map[string]bool{}
	for i := range c.Life.Secrets {
		s := &c.Life.Secrets[i]
		found, err := e.Secrets.Get(s.Name)
		if err != nil {
			return nil, err
		}
		s.Name, s.ID = found.Name, found.ID
		if s.Target == "" {
			s.Target = found.Name
		}
		if err := checkTarget(s, found.Data); err != nil {
			return nil, err
		}
		key := s.Kind + secretPath(s)
		if taken[key] {
			return nil, fault.New(fault.Invalid, "secret %s: its target %s is that of another secret", s.Name, s.Target)
		}
		taken[key] = true
		if !slices.ContainsFunc(kept, func(k keptSecret) bool { return k.Name == found.Name }) {
			kept = append(kept, keptSecret{found.Name, found.Data})
		}
	}
	return kept, nil
}

// checkTarget refuses where a secret cannot be.
func checkTarget(s *config.Secret, data []byte) error {
	bad := func(why string) error {
		return fault.New(fault.Invalid, "secret %s: target %q: %s", s.Name, s.Target, why)
	}
	if strings.ContainsAny(s.Target, "\x00\r\n") {
		return bad("a line break or NUL byte")
	}
	if s.Kind == "env" {
		if strings.Contains(s.Target, "=") {
			return bad("it cannot be the name of a variable")
		}
		if slices.Contains(data, 0) {
			return fault.New(fault.Invalid, "secret %s: its data have a NUL byte, which a variable cannot hold", s.Name)
		}
		return nil
	}
	if path.Clean(s.Target) == "/" || strings.HasSuffix(s.Target, "/") || slices.Contains(strings.Split(s.Target, "/"), "..") {
		return bad("it names no file")
	}
	return nil
}

// secretPath is where a secret's file is in the container.
func secretPath(s *config.Secret) string {
	if path.IsAbs(s.Target) {
		return path.Clean(s.Target)
	}
	return path.Join(secretsTarget, s.Target)
}

// keepSecrets writes a container's copy.
func keepSecrets(e *Engine, rec *container.Record, kept []keptSecret) error {
	if len(kept) == 0 {
		return nil
	}
	b, err := json.Marshal(kept)
	if err == nil {
		err = atomicfile.Write(filepath.Join(e.Containers.Home(rec.ID), secretsFile), b, 0o600)
	}
	if err != nil {
		return fmt.Errorf("keep the secrets of container %s: %w", rec.Name, err)
	}
	return nil
}

// keptSecrets reads them; a copy that a power cut took is made again.
func keptSecrets(e *Engine, rec *container.Record) (map[string][]byte, error) {
	var kept []keptSecret
	b, err := atomicfile.ReadCapped(filepath.Join(e.Containers.Home(rec.ID), secretsFile), maxKept)
	if err == nil && len(b) > 0 {
		err = json.Unmarshal(b, &kept)
	} else if err == nil || errors.Is(err, fs.ErrNotExist) {
		c := rec.Config
		if kept, err = findSecrets(e, &c); err == nil {
			err = keepSecrets(e, rec, kept)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("read the secrets of container %s: %w", rec.Name, err)
	}
	out := map[string][]byte{}
	for _, k := range kept {
		out[k.Name] = k.Data
	}
	return out, nil
}

// secrets makes what one start gives of them: files in the run folder, to be
// bound into the container, and variables. joined tells that the container is in
// another's user namespace.
func (s *start) secrets(e *Engine, joined bool) (out container.Secrets, err error) {
	if len(s.rec.Config.Life.Secrets) == 0 {
		return out, nil
	}
	out.Folder = secretsTarget
	kept, err := keptSecrets(e, s.rec)
	if err != nil {
		return out, err
	}
	dir := filepath.Join(s.runDir, secretsFolder)
	if err := dropSecrets(e, s.rec); err != nil { // of a start that was killed
		return out, err
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return out, fmt.Errorf("make a folder for secrets: %w", err)
	}
	for i := range s.rec.Config.Life.Secrets {
		one := &s.rec.Config.Life.Secrets[i]
		data, ok := kept[one.Name]
		if !ok {
			return out, fault.New(fault.NotFound, "no secret with name or id %q: no such secret", one.Name)
		}
		if one.Kind == "env" {
			out.Env = append(out.Env, one.Target+"="+string(data))
			continue
		}
		at := filepath.Join(dir, strconv.Itoa(i))
		if err := s.writeSecret(e, at, one, data); err != nil {
			return out, err
		}
		m := container.SecretFile{Source: at, Target: secretPath(one)}
		if joined && !e.Defaults.Rootless {
			if m.IDMap, _, err = container.IDMapping(at, e.host().Kernel); err != nil {
				return out, err
			}
		}
		out.Files = append(out.Files, m)
	}
	return out, nil
}

// writeSecret writes one file, owned as it was asked for inside.
func (s *start) writeSecret(e *Engine, at string, one *config.Secret, data []byte) error {
	uid, gid := int(one.UID), int(one.GID)
	if s.ids != nil {
		var ok bool
		if uid, gid, ok = onHost(s.ids, one.UID, one.GID); !ok {
			return fault.New(fault.Invalid, "secret %s: the container has no user %d or group %d", one.Name, one.UID, one.GID)
		}
	}
	if err := atomicfile.Write(at, data, fs.FileMode(one.Mode&0o777)); err != nil {
		return fmt.Errorf("write secret %s: %w", one.Name, err)
	}
	err := os.Chown(at, uid, gid)
	if errors.Is(err, unix.EINVAL) { // not one of an ordinary user's
		return fault.New(fault.Invalid, "secret %s: the container has no user %d or group %d", one.Name, one.UID, one.GID)
	}
	if err != nil {
		return fmt.Errorf("give secret %s to the container: %w", one.Name, err)
	}
	return labelFile(s.rec, at)
}

// dropSecrets removes the files that a run had.
func dropSecrets(e *Engine, rec *container.Record) error {
	if len(rec.Config.Life.Secrets) == 0 {
		return nil
	}
	if err := os.RemoveAll(filepath.Join(e.Containers.RunDir(rec.ID), secretsFolder)); err != nil {
		return fmt.Errorf("remove the secrets of container %s: %w", rec.Name, err)
	}
	return nil
}
