package mount

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func TestParse(t *testing.T) {
	for _, tt := range []struct {
		in   string // words separated by spaces
		want Options
	}{
		{"", Options{}},
		{"defaults", Options{}},
		{"bind ro", Options{Bind: true, Attr: Attr{Set: unix.MOUNT_ATTR_RDONLY}}},
		{"rbind rro", Options{Bind: true, Rec: true, RecAttr: Attr{Set: unix.MOUNT_ATTR_RDONLY}}},
		{"ro rw", Options{Attr: Attr{Clear: unix.MOUNT_ATTR_RDONLY}}},
		{"rw ro", Options{Attr: Attr{Set: unix.MOUNT_ATTR_RDONLY}}},
		{"nosuid nodev noexec nosymfollow nodiratime", Options{Attr: Attr{Set: unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV |
			unix.MOUNT_ATTR_NOEXEC | unix.MOUNT_ATTR_NOSYMFOLLOW | unix.MOUNT_ATTR_NODIRATIME}}},
		{"noatime strictatime", Options{Attr: Attr{Set: unix.MOUNT_ATTR_STRICTATIME, Clear: unix.MOUNT_ATTR__ATIME}}},
		{"noatime relatime", Options{Attr: Attr{Clear: unix.MOUNT_ATTR__ATIME}}},
		{"noatime atime", Options{Attr: Attr{Clear: unix.MOUNT_ATTR__ATIME}}},
		{"rnoatime rsuid", Options{RecAttr: Attr{Set: unix.MOUNT_ATTR_NOATIME, Clear: unix.MOUNT_ATTR__ATIME | unix.MOUNT_ATTR_NOSUID}}},
		{"rrelatime", Options{RecAttr: Attr{Clear: unix.MOUNT_ATTR__ATIME}}},
		{"rslave shared", Options{Propagation: []Propagation{{unix.MS_SLAVE, true}, {unix.MS_SHARED, false}}}},
		{"runbindable", Options{Propagation: []Propagation{{unix.MS_UNBINDABLE, true}}}},
		{"mode=755 size=64k newinstance", Options{Data: []Param{{"mode", "755", false}, {"size", "64k", false}, {"newinstance", "", true}}}},
		{"sync lazytime", Options{Flags: []Param{{"sync", "", true}, {"lazytime", "", true}}}},
		{"tmpcopyup remount", Options{CopyUp: true, Remount: true}},
		{"ridmap", Options{IDMap: true, IDMapRec: true}},
		{"idmap=uids=0-1000-1#1-7-2;gids=5-6-7", Options{IDMap: true, UIDs: []Range{{0, 1000, 1}, {1, 7, 2}}, GIDs: []Range{{5, 6, 7}}}},
		{"copy-symlink src-nofollow dest-nofollow", Options{CopySymlink: true, SrcNoFollow: true, DestNoFollow: true}},
		{"lowerdir=/a:/b=c", Options{Data: []Param{{"lowerdir", "/a:/b=c", false}}}},
		{"key=", Options{Data: []Param{{"key", "", false}}}},
	} {
		got, err := Parse(strings.Fields(tt.in))
		if err != nil {
			t.Errorf("%s: %v", tt.in, err)
			continue
		}
		if d := cmp.Diff(&tt.want, got); d != "" {
			t.Errorf("%s: %s", tt.in, d)
		}
	}
}

func TestParseErrors(t *testing.T) {
	for in, want := range map[string]string{
		"=x":                           `option "=x" has no name`,
		"a\x00b":                       `option "a\x00b" has a zero byte`,
		"idmap=uids=1-2-3":             `option "idmap=uids=1-2-3": needs both uids= and gids=`,
		"idmap=uids=1-2;gids=1-2-3":    `option "idmap=uids=1-2;gids=1-2-3": bad range "1-2"`,
		"idmap=uids=@0-2-1;gids=1-2-3": `option "idmap=uids=@0-2-1;gids=1-2-3": bad range "@0-2-1"`,
		strings.Repeat("x", 5000):      `option "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"… is longer than 4095 bytes`,
	} {
		_, err := Parse([]string{in})
		if err == nil || err.Error() != want {
			t.Errorf("%q: %v, want %s", in, err, want)
		}
	}
	if _, err := Parse(make([]string, maxOptions+1)); err == nil {
		t.Error("too many options were accepted")
	}
}

// The runtime-spec's table of mount options that a runtime has to know.
func TestMountOptions(t *testing.T) {
	all := MountOptions()
	for w := range strings.FieldsSeq(`async atime bind defaults dev diratime dirsync exec iversion lazytime loud mand noatime
		nodev nodiratime noexec noiversion nolazytime nomand norelatime nostrictatime nosuid nosymfollow private ratime rbind
		rdev rdiratime relatime remount rexec rnoatime rnodev rnodiratime rnoexec rnorelatime rnostrictatime rnosuid
		rnosymfollow ro rprivate rrelatime rro rrw rshared rslave rstrictatime rsuid rsymfollow runbindable rw shared silent
		slave strictatime suid sync symfollow tmpcopyup unbindable idmap ridmap`) {
		if !slices.Contains(all, w) {
			t.Errorf("%s is missing", w)
		}
		if o, err := Parse([]string{w}); err != nil || len(o.Data) != 0 {
			t.Errorf("%s is taken for the file system's own: %v", w, err)
		}
	}
	if !slices.IsSorted(all) || len(slices.Compact(slices.Clone(all))) != len(all) {
		t.Error("not sorted or not unique")
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"ro,rw,noatime", "idmap=uids=0-1-2;gids=3-4-5", "mode=755,rro", "=,a="} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		o, err := Parse(strings.Split(s, ","))
		if err != nil {
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("error has two lines: %v", err)
			}
			return
		}
		for _, a := range []Attr{o.Attr, o.RecAttr} {
			if a.Set&a.Clear&^unix.MOUNT_ATTR__ATIME != 0 {
				t.Errorf("%q sets and clears %#x", s, a.Set&a.Clear)
			}
			k := a.kernel()
			if k.Attr_set&unix.MOUNT_ATTR__ATIME != 0 && k.Attr_clr&unix.MOUNT_ATTR__ATIME != unix.MOUNT_ATTR__ATIME {
				t.Errorf("%q: access time set but not cleared", s)
			}
		}
	})
}
