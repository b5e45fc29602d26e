package initproc

import (
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestHomeOf(t *testing.T) {
	passwd := "root:x:0:0:root:/root:/bin/sh\n# comment\nbad\nnone:x:5:5::\n\nu:x:1000:1000:U:/home/u\nu2:x:1000:1:U:/other:\nx:x:00007:1:G:/seven:/bin/sh"
	for uid, want := range map[uint32]string{0: "/root", 5: "/", 1000: "/home/u", 7: "/seven", 9: "/"} {
		if got := homeOf([]byte(passwd), uid); got != want {
			t.Errorf("home of %d is %q, want %q", uid, got, want)
		}
	}
	if got := homeOf(nil, 0); got != "/" {
		t.Errorf("without a file the home is %q", got)
	}
}

func TestReadPasswdDoesNotBlock(t *testing.T) {
	fifo := t.TempDir() + "/passwd"
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{fifo, "/dev/zero", "/", "/nonexistent"} {
		if b := readPasswd(path); b != nil {
			t.Errorf("%s gives %d bytes", path, len(b))
		}
	}
}

func FuzzHomeOf(f *testing.F) {
	f.Add([]byte("root:x:0:0:root:/root:/bin/sh\n"), uint32(0))
	f.Add([]byte("::::::\n:::\n"), uint32(7))
	f.Fuzz(func(t *testing.T, passwd []byte, uid uint32) {
		home := homeOf(passwd, uid)
		if home == "" || strings.ContainsAny(home, "\x00\n:") {
			t.Errorf("home %q of %d in %q", home, uid, passwd)
		}
	})
}
