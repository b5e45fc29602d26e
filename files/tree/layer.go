package tree

import (
	"archive/tar"
	"encoding/binary"
	"path"

	"golang.org/x/sys/unix"

	"berth/base/fault"
)

// isWhiteout tells overlay's whiteout: a character device 0:0.
func isWhiteout(st *unix.Stat_t) bool {
	return st.Mode&unix.S_IFMT == unix.S_IFCHR && st.Rdev == 0
}

// hide writes that a name of the layers below is no more.
func (p *packer) hide(name string) error {
	dir, base := path.Split(name)
	return p.tar.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: dir + ".wh." + base, Mode: 0o600, Format: tar.FormatPAX})
}

// opaque writes that what the layers below have in a folder is no more.
func (p *packer) opaque(fd int, name string) error {
	var b [1]byte
	prefix := "trusted.overlay."
	if p.src.UserXattr {
		prefix = "user.overlay."
	}
	for _, x := range []string{prefix + "redirect", prefix + "metacopy"} {
		if _, err := unix.Fgetxattr(fd, x, nil); err == nil {
			return fault.New(fault.Unsupported, "%.200q has the xattr %s, which a layer has no word for", name, x)
		}
	}
	if n, err := unix.Fgetxattr(fd, prefix+"opaque", b[:]); err != nil || n != 1 || b[0] != 'y' {
		return nil
	}
	return p.tar.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: path.Join(name, ".wh..wh..opq"), Mode: 0o600, Format: tar.FormatPAX})
}

// xattrs are those of an open file, as the tar is to have them.
func (p *packer) xattrs(fd int) map[string]string {
	records := xattrRecords(fd)
	const key = xattrPrefix + "security.capability"
	if v, ok := records[key]; ok && p.src.Layer {
		records[key] = plainCapability(v)
	}
	return records
}

// plainCapability makes of a capability that holds in one user namespace one that
// holds in that of whoever uses the image: linux/capability.h, struct
// vfs_ns_cap_data, without its last field.
func plainCapability(v string) string {
	const revisions, rev2, rev3 = 0xff000000, 0x02000000, 0x03000000
	if len(v) != 24 {
		return v
	}
	b := []byte(v)
	if magic := binary.LittleEndian.Uint32(b); magic&revisions == rev3 {
		binary.LittleEndian.PutUint32(b, magic&^revisions|rev2)
		return string(b[:20])
	}
	return v
}
