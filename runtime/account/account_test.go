package account

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

const passwdText = `root:x:0:0:root:/root:/bin/sh
# comment:x:1:1::/:/
web:x:33:33:web:/var/www:/usr/sbin/nologin
1000:x:7:7:a name like a number:/home/seven:/bin/sh
short:x:44
dup:x:50:50::/first:/bin/sh
dup:x:0:0::/second:/bin/sh
huge:x:4294967296:0::/:/bin/sh
minus:x:-1:0::/:/bin/sh
relative:x:60:60::home:/bin/sh
+:x:0:0::/:
`

const groupText = `root:x:0:
staff:x:50:web,dup
web:x:33:
audio:x:29:dup,web,web
audio2:x:29:web
bad:x:99999999999:web
`

func TestLookup(t *testing.T) {
	for _, tc := range []struct {
		in       string
		uid, gid uint32
		groups   []uint32
		home     string
		bad      string
	}{
		{in: "", uid: 0, gid: 0, home: "/root"},
		{in: "root", uid: 0, gid: 0, home: "/root"},
		{in: "web", uid: 33, gid: 33, groups: []uint32{29, 50}, home: "/var/www"},
		{in: "33", uid: 33, gid: 33, groups: []uint32{29, 50}, home: "/var/www"},
		{in: "web:staff", uid: 33, gid: 50, home: "/var/www"},
		{in: "web:7", uid: 33, gid: 7, home: "/var/www"},
		{in: "web:", uid: 33, gid: 33, groups: []uint32{29, 50}, home: "/var/www"},
		// A number is an id, whatever users are called: a name must not turn 1000 into 7.
		{in: "1000", uid: 1000, gid: 0, home: "/"},
		{in: "4294967294", uid: 4294967294, gid: 0, home: "/"},
		{in: "dup", uid: 50, gid: 50, groups: []uint32{29, 50}, home: "/first"},
		{in: "relative", uid: 60, gid: 60, home: "/"},
		{in: "4294967295", bad: "not an id"},
		{in: "4294967296", bad: "not an id"},
		{in: "18446744073709551616", bad: "not an id"},
		{in: "-1", bad: "not an id"},
		{in: "+0", bad: "not an id"},
		{in: "0:4294967295", bad: "not an id"},
		{in: "huge", bad: "unable to find user huge: no matching entries in passwd file"},
		{in: "minus", bad: "unable to find user minus: no matching entries in passwd file"},
		{in: "short", bad: "unable to find user short: no matching entries in passwd file"},
		{in: "web:bad", bad: "unable to find group bad: no matching entries in group file"},
		{in: "#", bad: "unable to find user #"},
		{in: "web\nroot", bad: "unable to find user \"web\\nroot\""},
	} {
		a, err := Lookup(tc.in, []byte(passwdText), []byte(groupText))
		if tc.bad != "" {
			if err == nil || !strings.Contains(err.Error(), tc.bad) {
				t.Errorf("%q: %+v, %v", tc.in, a, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%q: %v", tc.in, err)
			continue
		}
		if a.UID != tc.uid || a.GID != tc.gid || a.Home != tc.home || !slices.Equal(a.Groups, tc.groups) {
			t.Errorf("%q: got %+v", tc.in, a)
		}
	}
	if _, err := Lookup("nobody", nil, nil); !errors.Is(err, ErrMissing) {
		t.Errorf("missing user: %v", err)
	}
	if _, err := Lookup("web", []byte(strings.Repeat("\n", maxAccountLines+1)), nil); err == nil {
		t.Error("a file of too many lines was read")
	}
}

func TestRead(t *testing.T) {
	dir := t.TempDir()
	big := filepath.Join(dir, "big")
	if err := os.WriteFile(big, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(big, 1<<40); err != nil {
		t.Fatal(err)
	}
	if b, err := Read(big); err == nil || !strings.Contains(err.Error(), "larger than") {
		t.Errorf("%s: %d bytes, %v", big, len(b), err)
	}
	fifo := filepath.Join(dir, "fifo")
	if err := unix.Mkfifo(fifo, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{dir, "/dev/zero", fifo, filepath.Join(dir, "none")} {
		if b, err := Read(path); err != nil || len(b) != 0 {
			t.Errorf("%s: %d bytes, %v", path, len(b), err)
		}
	}
}

// none is what the kernel takes for "leave it".
const none = 1<<32 - 1

func FuzzLookup(f *testing.F) {
	f.Add("web", []byte(passwdText), []byte(groupText))
	f.Add("0:staff", []byte(passwdText), []byte(groupText))
	f.Add("4294967295:1", []byte("a:b:c:d:e:f:g"), []byte("a:b:1:a,b\n"))
	f.Fuzz(func(t *testing.T, user string, passwd, group []byte) {
		a, err := Lookup(user, passwd, group)
		if err != nil {
			return
		}
		if a.UID == none || a.GID == none || slices.Contains(a.Groups, none) {
			t.Errorf("%q: %+v", user, a)
		}
		if !slices.IsSorted(a.Groups) || hasControl(a.Home) || !strings.HasPrefix(a.Home, "/") {
			t.Errorf("%q: %+v", user, a)
		}
		// Root is only who is called so, by number or by the file.
		if name, _, _ := strings.Cut(user, ":"); a.UID == 0 && a.Name == "" && name != "" && strings.Trim(name, "0") != "" {
			t.Errorf("%q became root", user)
		}
	})
}
