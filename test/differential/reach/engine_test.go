package reach

import (
	"archive/tar"
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"berth/test/berth"
	"berth/test/netns"
)

// engine is berth or dockerd on one host.
type engine interface {
	do(words ...string) (string, error)
	image() string
	// look has it see what others did to the firewall.
	look() []string
}

type ours struct{ *berth.Berth }

func (o ours) image() string { return "berth/base" }

// look is a container that comes and goes.
func (o ours) look() []string { return []string{"run", "--rm", o.image(), "true"} }

func (o ours) do(words ...string) (string, error) {
	r := o.Do(words...)
	return r.Out, r.Err()
}

func startBerth(w *world) engine {
	w.t.Helper()
	b, err := berth.Make(w.t.TempDir())
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		w.host.Do(func() { _, err = b.Empty() })
		leave(b.Run)
		// A monitor that ends may begin one more.
		for begin := time.Now(); os.RemoveAll(b.Root()) != nil && time.Since(begin) < 20*time.Second; {
			time.Sleep(50 * time.Millisecond)
		}
		if err := errors.Join(err, b.Remove()); err != nil {
			w.t.Error(err)
		}
	})
	return ours{b}
}

// leave waits for the programs with a run folder, a minute at most: what follows a
// container's end would write there again.
func leave(run string) {
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		all, _ := filepath.Glob("/proc/[0-9]*/environ")
		if !slices.ContainsFunc(all, func(file string) bool {
			text, _ := os.ReadFile(file)
			return bytes.Contains(text, []byte("BERTH_RUN="+run+"\x00"))
		}) {
			return
		}
	}
}

type dockerd struct{ socket string }

func (d dockerd) image() string { return "box" }

func (d dockerd) look() []string { return nil }

func (d dockerd) do(words ...string) (string, error) {
	return netns.Run("docker", append([]string{"-H", d.socket}, words...)...)
}

// startDocker starts dockerd as it is by default, with the firewall of IPv6 that
// is experimental in 20.10.
func startDocker(w *world) engine {
	t := w.t
	t.Helper()
	dir := t.TempDir()
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	e := dockerd{"unix://" + dir + "/s"}
	w.lenient = true
	d := exec.Command("dockerd", "--data-root", dir+"/data", "--exec-root", dir+"/exec", "--pidfile", dir+"/pid", "-H", e.socket,
		"--experimental", "--ip6tables", "--storage-driver", "overlay2", "--log-level", "warn")
	d.Stdout, d.Stderr = log, log
	// A firewalld of this machine is not asked.
	d.Env = append(os.Environ(), "DBUS_SYSTEM_BUS_ADDRESS=unix:path="+dir+"/nobody")
	d.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	w.host.Do(func() { err = d.Start() })
	if err != nil {
		t.Fatalf("start dockerd: %v", err)
	}
	t.Cleanup(func() {
		if out, err := e.do("ps", "-aq"); err == nil && out != "" {
			if _, err := e.do(append([]string{"rm", "-f"}, strings.Fields(out)...)...); err != nil {
				t.Error(err)
			}
		}
		if err := d.Process.Signal(syscall.SIGTERM); err != nil {
			t.Error(err)
		}
		_ = d.Wait()                                                 // the signal ended it
		_ = unix.Unmount(dir+"/exec/netns/default", unix.MNT_DETACH) // dockerd leaves it
		if text, _ := os.ReadFile(log.Name()); t.Failed() {
			t.Logf("%s", text[max(0, len(text)-4000):])
		}
	})
	for range 600 {
		if _, err = e.do("version"); err == nil {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	if err != nil {
		t.Fatal("dockerd does not answer: ", err)
	}
	e.load(w)
	return e
}

// load makes the image.
func (d dockerd) load(w *world) {
	w.t.Helper()
	cmd := exec.Command("docker", "-H", d.socket, "import", "-", d.image())
	cmd.Stdin = bytes.NewReader(rootfs(w))
	if out, err := cmd.CombinedOutput(); err != nil {
		w.t.Fatalf("import an image: %v: %s", err, out)
	}
}

// rootfs is a root file system that has sleep.
func rootfs(w *world) []byte {
	w.t.Helper()
	data, err := os.ReadFile("/bin/busybox")
	if err != nil {
		w.t.Fatal(err)
	}
	var b bytes.Buffer
	to := tar.NewWriter(&b)
	for _, h := range []tar.Header{
		{Name: "bin/", Typeflag: tar.TypeDir, Mode: 0o755},
		{Name: "bin/sleep", Mode: 0o755, Size: int64(len(data))},
	} {
		if err := to.WriteHeader(&h); err != nil {
			w.t.Fatal(err)
		}
		if h.Size > 0 {
			if _, err := to.Write(data); err != nil {
				w.t.Fatal(err)
			}
		}
	}
	if err := to.Close(); err != nil {
		w.t.Fatal(err)
	}
	return b.Bytes()
}
