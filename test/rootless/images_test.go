package rootless

import (
	"archive/tar"
	"bytes"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"berth/test/account"
)

// berth runs the program as a user whose home is dir.
func berth(t *testing.T, a account.Account, dir string, stdin []byte, args ...string) string {
	t.Helper()
	program, err := filepath.Abs("../../bin/berth")
	if err != nil {
		t.Fatal(err)
	}
	// The checkout may be where no other user gets.
	data, err := os.ReadFile(program)
	if err != nil {
		t.Fatalf("%v: build it with make", err)
	}
	own := filepath.Join(dir, "berth")
	if _, err := os.Stat(own); err != nil {
		if err := os.WriteFile(own, data, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(own, args...)
	cmd.Dir, cmd.Stdin = dir, bytes.NewReader(stdin)
	cmd.Env = []string{"HOME=" + dir, "XDG_RUNTIME_DIR=" + filepath.Join(dir, "run"), "PATH=/usr/bin:/bin"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: a.Credential()}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("berth %s: %v: %s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// TestImages imports an image whose file belongs to somebody: with ranges it
// gets the subordinate id, with one id the user keeps it and notes the owner.
func TestImages(t *testing.T) {
	needRoot(t)
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "theirs", Mode: 0o640, Uid: 1234, Gid: 55, Size: 2}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte("hi")); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	for name, who := range map[string]account.Account{"ranges": ranged, "one id": lonely} {
		t.Run(name, func(t *testing.T) {
			dir, err := os.MkdirTemp("", "berth-images-")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := os.RemoveAll(dir); err != nil {
					t.Error(err)
				}
			})
			if err := os.Chown(dir, int(who.UID), int(who.GID)); err != nil {
				t.Fatal(err)
			}
			berth(t, who, dir, layer.Bytes(), "import", "-", "owned")
			found := ""
			err = filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
				if d != nil && d.Name() == "theirs" {
					found = p
				}
				return err
			})
			if err != nil || found == "" {
				t.Fatalf("the file of the image is nowhere: %v", err)
			}
			fi, err := os.Stat(found)
			if err != nil {
				t.Fatal(err)
			}
			st := fi.Sys().(*syscall.Stat_t)
			wantUID, wantGID := who.UID, who.GID
			if who.Count > 0 {
				wantUID, wantGID = who.First+1233, who.First+54
			} else {
				buf := make([]byte, 64)
				n, err := syscall.Getxattr(found, "user.containers.override_stat", buf)
				if err != nil || !strings.HasPrefix(string(buf[:max(n, 0)]), "1234:55:") {
					t.Errorf("the true owner is noted as %q, %v", buf[:max(n, 0)], err)
				}
			}
			if st.Uid != wantUID || st.Gid != wantGID {
				t.Errorf("the file belongs to %d:%d, want %d:%d", st.Uid, st.Gid, wantUID, wantGID)
			}
			if out := berth(t, who, dir, nil, "images", "--format", "{{.Repository}}:{{.Tag}}"); out != "owned:latest\n" {
				t.Errorf("images: %q", out)
			}
			berth(t, who, dir, nil, "rmi", "owned")
			if left, err := filepath.Glob(filepath.Join(dir, ".local/share/berth/snapshots/d/*")); err != nil || len(left) > 0 {
				t.Errorf("after rmi there are %q, %v", left, err)
			}
		})
	}
}
