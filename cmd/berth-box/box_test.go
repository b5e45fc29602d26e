package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// box builds the program and links it under every name that it has.
func box(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	build := exec.Command("go", "build", "-o", filepath.Join(dir, "berth-box"), ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	names, err := exec.Command(filepath.Join(dir, "berth-box"), "--list").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range strings.Fields(string(names)) {
		if err := os.Symlink("berth-box", filepath.Join(dir, n)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestLikeOthers types the same lines at our shell and tools and at the host's.
func TestLikeOthers(t *testing.T) {
	bin := box(t)
	for _, line := range []string{
		"true", "false", "exit 7", "echo -n a; echo b c", "printf '%s-%d\\n' x 3", "for i in 1 2 3; do echo $i; done | wc -l",
		"seq 10 | head -n 3", "seq 10 | head -3", "seq 10 | tail -n 2", "seq 10 | tail -n +8", "seq 3 -1 1", "seq 10 | head -c 5",
		"printf 'b\\na\\nb\\n' | sort", "printf 'b\\na\\nb\\n' | sort -u", "printf '10\\n9\\n' | sort -n", "printf '1 b\\n2 a\\n' | sort -k2", "printf 'a\\na\\nb\\n' | uniq -c",
		"echo a:b:c | cut -d: -f2", "echo a:b:c | cut -d : -f 1,3", "echo abcdef | cut -c2-4", "printf 'x\\ny\\n' | grep -n y", "echo x | grep -q y", "echo Xa | grep -i xA", "printf 'a\\nb\\n' | grep -v a", "printf 'a1\\nb\\n' | grep -o '[0-9]'", "echo a | grep -c a", "grep",
		"echo abc | tr a-c A-C", "echo a1b2 | tr -d 0-9", "echo aabb | tr -s a", "echo abc | tr '[:lower:]' '[:upper:]'",
		"echo hello | tee f; cat f", "touch a; ls", "mkdir -p d/e; rmdir d/e; ls d", "ln -s x y; readlink y", "echo t >f; ln f g; stat -c %h g", "echo 1 >f; mv f g; cat g", "echo 1 >f; cp f g; cat g", "mkdir d; touch d/f; rm -r d; ls",
		"chmod 640 /dev/null/x", "touch f; chmod 640 f; stat -c %a f", "basename /a/b.c .c", "dirname /a/b/c", "pwd | xargs basename >/dev/null", "echo a b | xargs -n1 echo",
		"printf abc | sha256sum", "printf abc | sha512sum", "printf abc >f; sha256sum f >s; sha256sum -c s", "printf abc | base64", "printf 'YWJj' | base64 -d", "printf hello | gzip | gunzip", "mkdir d; echo 1 >d/f; tar -cf t.tar d; rm -r d; tar -xf t.tar; cat d/f",
		"id -u", "id -g", "whoami", "hostname", "uname -sm", "nproc", "env -i A=1 env", "A=5 printenv A", "printenv NOT_THERE", "expr 2 + 3", "expr 3 '>' 4", "sleep 0.01", "timeout 0.05 sleep 5", "timeout 5 sh -c 'exit 3'",
		"touch a b .c; mkdir d; ls; ls -A; ls -1a; ls -d d; ls -F", "touch -d 2001-02-03 a; chmod 4755 a; ln -s a l; mkdir d; chmod 1777 d; ls -l", "ls -l /dev/null; ls nofile; ls -ld /tmp", "touch f; chmod u=rw,go=r f; stat -c %a f; chmod a+x,g-w f; stat -c %a f; chmod +t . ; chmod -R o-rwx .; stat -c %a f", "which nothing-of-this-name", "date -u +%Y-%m-%d", "test -d . && [ 1 -lt 2 ] && echo yes", "x=$(echo hi); echo \"$x ${#x} ${x:-no}\"", "case abc in a*) echo A;; esac", "f() { return 4; }; f; echo $?", "set -e; false; echo no", "echo $((3 * 4))", "sh -c 'exit 5'; echo $?",
		"nothing-of-this-name", "cat nofile", "kill -0 $$", "trap 'echo bye' EXIT; exit 2", "cat <<E\nhere $((1))\nE", "find . -name nothing", "printf 'a\\nb' | wc -l", "echo one two | wc -w",
		"printf 'a b\\n' | while read x y; do echo $y; done", "echo err >&2", "(exit 9)", "! true", "readlink -f .  | xargs -n1 test -d",
	} {
		run := func(sh, path string) (string, int) {
			cmd := exec.Command(sh, "-c", line)
			cmd.Dir = t.TempDir()
			cmd.Env = []string{"PATH=" + path, "LC_ALL=C"}
			var out bytes.Buffer
			cmd.Stdout = &out
			err := cmd.Run()
			var exit *exec.ExitError
			if err != nil && !errors.As(err, &exit) {
				t.Fatal(err)
			}
			return out.String(), cmd.ProcessState.ExitCode()
		}
		ours, code := run(filepath.Join(bin, "sh"), bin)
		theirs, want := run("/bin/bash", "/usr/bin:/bin")
		if strings.Join(strings.Fields(ours), " ") != strings.Join(strings.Fields(theirs), " ") || code != want {
			t.Errorf("%s\n ours:   %q exit %d\n theirs: %q exit %d", line, ours, code, theirs, want)
		}
	}
}

func TestTerminalShell(t *testing.T) {
	bin := box(t)
	cmd := exec.Command("script", "-qec", filepath.Join(bin, "sh"), "/dev/null")
	cmd.Env = []string{"PATH=" + bin + ":/usr/bin:/bin", "TERM=xterm"}
	cmd.Stdin = strings.NewReader("echo $((40+2))\rif true\rthen echo deep\rfi\rexit 6\r")
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 6 {
		t.Errorf("exit 6 became %v", err)
	}
	for _, want := range []string{"\r\n42\r\n", "\r\ndeep\r\n"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("no %q in %q", want, out)
		}
	}
}
