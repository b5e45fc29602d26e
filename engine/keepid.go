package engine

import (
	"archive/tar"
	"bytes"
	"cmp"
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"berth/base/fault"
	"berth/container"
	"berth/container/config"
	"berth/files"
)

// keepUser makes the processes of a container with keep-id the user's who calls, unless
// they or the image said whose they are.
func keepUser(e *Engine, c *config.Config, r *container.Resolved) error {
	mode, options, _ := strings.Cut(c.Namespaces.User, ":")
	if mode != "keep-id" || e.Defaults.Person == nil || r.User != "" {
		return nil
	}
	p, err := e.Defaults.Person()
	if err != nil {
		return err
	}
	uid, gid := container.KeptID(options, p)
	r.User = fmt.Sprintf("%d:%d", uid, gid)
	return nil
}

// nameKept gives a container with keep-id the names of the user who calls, as podman
// does: a line in /etc/passwd and in /etc/group, where these are and have no such id.
func nameKept(ctx context.Context, e *Engine, rec *container.Record) error {
	mode, options, _ := strings.Cut(rec.Config.Namespaces.User, ":")
	if mode != "keep-id" {
		return nil
	}
	p, err := e.Defaults.Person()
	if err != nil {
		return err
	}
	uid, gid := container.KeptID(options, p)
	name, group := strconv.FormatUint(uint64(uid), 10), strconv.FormatUint(uint64(gid), 10)
	if uid == p.UID && gid == p.GID {
		name, group = p.Name, p.Name
	}
	home := cmp.Or(rec.Resolved.WorkDir, "/")
	for i := range rec.Mounts {
		if rec.Mounts[i].Target == p.Home {
			home = p.Home
		}
	}
	for _, field := range []string{name, home} {
		if strings.ContainsAny(field, ":\r\n\x00") {
			return nil // it would be another line
		}
	}
	l, err := rootLayers(ctx, e, rec)
	if err != nil {
		return err
	}
	l.ReadOnlyRoot = false
	v, err := files.Enter(ctx, &files.Place{Layers: l})
	if err != nil {
		return err
	}
	defer v.Close()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, one := range []struct {
		file, line string
		id         uint32
	}{
		{"passwd", fmt.Sprintf("%s:*:%d:%d::%s:/bin/sh\n", name, uid, gid, home), uid},
		{"group", fmt.Sprintf("%s:x:%d:%s\n", group, gid, name), gid},
	} {
		if err := appendLine(v, w, one.file, one.line, one.id); err != nil {
			return fmt.Errorf("name the user in /etc/%s: %w", one.file, err)
		}
	}
	if b.Len() == 0 {
		return nil
	}
	if err := w.Close(); err != nil {
		return err
	}
	if _, err = v.Unpack("/etc", &files.Options{}, &b); err != nil {
		return fmt.Errorf("name the user in /etc: %w", err)
	}
	return nil
}

// appendLine writes a file of /etc whose lines have an id in the third field, with one
// more line; nothing if it is not there or has the id.
func appendLine(v *files.Visit, w *tar.Writer, file, line string, id uint32) error {
	st, err := v.Stat("/etc/" + file)
	if fault.Is(err, fault.NotFound) || err == nil && (!st.Mode.IsRegular() || st.Size >= maxNames) {
		return nil
	}
	if err != nil {
		return err
	}
	text, err := v.Read("/etc/" + file)
	if err != nil {
		return err
	}
	for old := range strings.Lines(string(text)) {
		if f := strings.Split(strings.TrimSpace(old), ":"); len(f) > 2 && f[2] == strconv.FormatUint(uint64(id), 10) {
			return nil
		}
	}
	if len(text) > 0 && text[len(text)-1] != '\n' {
		text = append(text, '\n')
	}
	text = append(text, line...)
	if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: file, Mode: int64(st.Mode.Perm()), Size: int64(len(text)), ModTime: time.Now()}); err != nil {
		return err
	}
	_, err = w.Write(text)
	return err
}
