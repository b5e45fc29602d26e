package peer

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// Door says who gets into a registry.
type Door struct {
	Cert, Key string // PEM files: it speaks TLS
	Htpasswd  string // the text of htpasswd(1): it asks for a password
}

// Registry starts Debian's docker-registry on a free port of loopback and gives
// its host:port.
func Registry(t testing.TB, door Door) string {
	t.Helper()
	dir := t.TempDir()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	host := l.Addr().String()
	l.Close()
	config := fmt.Sprintf("version: 0.1\nlog: {level: error, accesslog: {disabled: true}}\n"+
		"storage:\n  filesystem: {rootdirectory: %s/data}\n  delete: {enabled: true}\nhttp:\n  addr: %s\n  secret: s\n", dir, host)
	if door.Cert != "" {
		config += fmt.Sprintf("  tls: {certificate: %s, key: %s}\n", door.Cert, door.Key)
	}
	if door.Htpasswd != "" {
		write(t, dir+"/htpasswd", door.Htpasswd)
		config += fmt.Sprintf("auth:\n  htpasswd: {realm: test, path: %s/htpasswd}\n", dir)
	}
	file := filepath.Join(dir, "config.yml")
	write(t, file, config)
	cmd := exec.Command("docker-registry", "serve", file)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatalf("start docker-registry: %v", err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("docker-registry said:\n%.4000s", out.String())
		}
	})
	for range 600 {
		if conn, err := net.Dial("tcp", host); err == nil {
			conn.Close()
			return host
		}
		time.Sleep(25 * time.Millisecond)
	}
	t.Fatalf("docker-registry does not listen on %s", host)
	return ""
}

func write(t testing.TB, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
