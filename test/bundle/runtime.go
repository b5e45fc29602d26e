package bundle

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"berth/test/bundle/report"
)

// Runtime is a runtime program with a state folder of its own.
type Runtime struct {
	Path    string        // the program
	Root    string        // its state folder
	Global  []string      // further global options, before the verb
	Timeout time.Duration // for one command; the process group is killed after it
	t       testing.TB
}

// Locate is the path of the runtime under test: $BERTH_OCI, else
// bin/berth-oci of the repository.
func Locate() (string, error) {
	path := os.Getenv("BERTH_OCI")
	if path == "" {
		repo, err := Repository()
		if err != nil {
			return "", err
		}
		path = filepath.Join(repo, "bin", "berth-oci")
	}
	if _, err := exec.LookPath(path); err != nil {
		return "", fmt.Errorf("the runtime under test is missing: %w (run make, or set BERTH_OCI)", err)
	}
	return filepath.Abs(path)
}

// Ours is the runtime under test with a fresh state folder. The test fails
// when the program is missing.
func Ours(t testing.TB) *Runtime {
	t.Helper()
	path, err := Locate()
	if err != nil {
		t.Fatal(err)
	}
	return Other(t, path)
}

// Other is any runtime that takes runc's command line.
func Other(t testing.TB, path string) *Runtime {
	t.Helper()
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("the runtime to compare with is missing: %v", err)
	}
	return &Runtime{Path: path, Root: filepath.Join(t.TempDir(), "run"), Timeout: 20 * time.Second, t: t}
}

// Result is what a command left: its output, exit code and duration. Code is
// 128 plus the signal for one that was killed, -1 after the time limit.
type Result struct {
	Args     []string
	Stdout   string
	Stderr   string
	Code     int
	Duration time.Duration
}

// Command prepares a command: global options, state folder, the words. Its
// process group is its own.
func (r *Runtime) Command(words ...string) *exec.Cmd {
	args := append([]string{"--root", r.Root}, r.Global...)
	cmd := exec.Command(r.Path, append(args, words...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return cmd
}

// Do runs one command to its end. Output goes to files, not pipes, so that a
// container which keeps them open does not hold the command up.
func (r *Runtime) Do(words ...string) Result {
	r.t.Helper()
	return r.Finish(r.Command(words...))
}

// Finish runs a prepared command as Do does.
func (r *Runtime) Finish(cmd *exec.Cmd) Result {
	r.t.Helper()
	in, out, errs := r.scratch(), r.scratch(), r.scratch()
	defer in.Close()
	defer out.Close()
	defer errs.Close()
	if cmd.Stdin == nil {
		cmd.Stdin = in // not /dev/null: crun gives that to the container's user
	}
	if cmd.Stdout == nil {
		cmd.Stdout = out
	}
	if cmd.Stderr == nil {
		cmd.Stderr = errs
	}
	start := time.Now()
	if err := cmd.Start(); err != nil {
		r.t.Fatalf("start %s: %v", r.Path, err)
	}
	timer := time.AfterFunc(r.Timeout, func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
	err := cmd.Wait()
	late := !timer.Stop()
	res := Result{Args: cmd.Args, Code: exitCode(err), Duration: time.Since(start)}
	if late {
		res.Code = -1
	}
	res.Stdout, res.Stderr = content(out), content(errs)
	return res
}

// maxOutput caps what is kept of one command's output.
const maxOutput = 16 << 20

// scratch is an unnamed file for a command's output.
func (r *Runtime) scratch() *os.File {
	f, err := os.CreateTemp("", "berth-output-")
	if err != nil {
		r.t.Fatal(err)
	}
	if err := os.Remove(f.Name()); err != nil {
		r.t.Fatal(err)
	}
	return f
}

func content(f *os.File) string {
	data, _ := io.ReadAll(io.NewSectionReader(f, 0, maxOutput))
	return string(data)
}

func exitCode(err error) int {
	var exit *exec.ExitError
	if err == nil {
		return 0
	}
	if !errors.As(err, &exit) {
		return -1
	}
	if ws, ok := exit.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return 128 + int(ws.Signal())
	}
	return exit.ExitCode()
}

// Must is Do for a command that has to succeed.
func (r *Runtime) Must(words ...string) Result {
	r.t.Helper()
	res := r.Do(words...)
	if res.Code != 0 {
		r.t.Fatalf("%s", res)
	}
	return res
}

// Run runs the bundle in the foreground under a fresh name.
func (r *Runtime) Run(b *Bundle, options ...string) Result {
	r.t.Helper()
	id := r.NewID()
	return r.Do(append(append([]string{"run", "--bundle", b.Dir}, options...), id)...)
}

// Start runs the bundle detached and gives its name; the test ends if that
// fails.
func (r *Runtime) Start(b *Bundle, options ...string) string {
	r.t.Helper()
	id := r.NewID()
	r.Must(append(append([]string{"run", "--detach", "--bundle", b.Dir}, options...), id)...)
	return id
}

// NewID is a fresh container name whose container, if one is left, goes away
// by force when the test ends.
func (r *Runtime) NewID() string {
	id := Name("c")
	r.t.Cleanup(func() { r.Remove(id) })
	return id
}

// Remove deletes a container by force if its state folder is still there.
func (r *Runtime) Remove(id string) {
	if _, err := os.Stat(filepath.Join(r.Root, id)); err != nil {
		return
	}
	cmd := r.Command("delete", "--force", id)
	var out bytes.Buffer
	cmd.Stderr = &out
	if err := cmd.Start(); err != nil {
		return
	}
	timer := time.AfterFunc(r.Timeout, func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
	defer timer.Stop()
	if err := cmd.Wait(); err != nil {
		r.t.Errorf("delete --force %s: %v: %s", id, err, out.String())
	}
}

// String tells the command and its outcome, for a failing test.
func (r Result) String() string {
	return fmt.Sprintf("%s: exit code %d after %s\nstdout: %s\nstderr: %s",
		strings.Join(r.Args, " "), r.Code, r.Duration.Round(time.Millisecond), r.Stdout, r.Stderr)
}

// Report reads the probe's report from standard output.
func (r Result) Report(t testing.TB) *report.Report {
	t.Helper()
	rep := &report.Report{}
	if err := json.Unmarshal([]byte(r.Stdout), rep); err != nil || r.Code != 0 {
		t.Fatalf("no report (%v) from %s", err, r)
	}
	return rep
}

// Answer is what one of the probe's verbs said: Out, or the error's name.
type Answer struct {
	Verb string `json:"verb"`
	Out  string `json:"out"`
	Err  string `json:"err"`
}

// Answers reads what Do's verbs said from standard output.
func (r Result) Answers(t testing.TB) []Answer {
	t.Helper()
	var all []Answer
	if err := json.Unmarshal([]byte(r.Stdout), &all); err != nil || r.Code != 0 {
		t.Fatalf("no answers (%v) from %s", err, r)
	}
	return all
}
