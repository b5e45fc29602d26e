package docker

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// limit is how long one command line may take, settled how long until waits.
const (
	limit   = 60 * time.Second
	settled = 15 * time.Second
)

// side is one of the two programs under comparison, with a state of its own.
type side struct {
	program []string
	own     []string // berth's own name, for groups of words that are not docker's
	env     []string
	dir     string          // of the whole side
	root    string          // where it keeps its state
	ports   string          // how its ports of the machine begin
	images  map[string]bool // the first twelve digits of their ids
	words   []string        // what stands for what in the lines, in pairs
}

// stopped is the exit code of a line that did not end in its time.
const stopped = -1

// outcome is what a line did, as it was printed.
type outcome struct {
	stdout, stderr string
	code           int
}

// play types a group's lines, without those words that are of the option
// (0: with all), and leaves nothing behind.
func (s *side) play(g *group, without int) ([]outcome, error) {
	work := filepath.Join(s.dir, "work")
	if err := os.Mkdir(work, 0o755); err != nil {
		return nil, err
	}
	as := *s
	if g.ours {
		as.program = s.own
	}
	var all []outcome
	for _, l := range g.lines {
		all = append(all, as.settle(l, without))
	}
	return all, errors.Join(s.remove(), os.RemoveAll(work))
}

// settle types a line, again and again if it says until when. Without an option
// nothing need be seen, so it has the time that it took with it, and a little.
func (s *side) settle(l *line, without int) outcome {
	begin, wait, within := time.Now(), settled, l.within
	if without > 0 {
		wait = 2*l.took + time.Second/2
		within = min(within, wait+2*time.Second)
	}
	for ; ; time.Sleep(50 * time.Millisecond) {
		o := s.line(l, without, within)
		past := time.Since(begin)
		if l.until == nil || l.until.MatchString(o.stdout) || past > wait {
			if without == 0 && s.own != nil {
				l.took = past
			}
			return o
		}
	}
}

func (s *side) line(l *line, without int, within time.Duration) outcome {
	work := filepath.Join(s.dir, "work")
	var words []string
	for _, w := range l.words {
		if w.option == 0 || w.option != without {
			words = append(words, s.fill(w.text))
		}
	}
	args := append(slices.Clone(s.program), words...)
	if l.shell {
		args = []string{"sh", "-c", strings.Join(words, " ")}
	}
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Dir, cmd.Env, cmd.WaitDelay = work, s.env, time.Second
	if l.terminal {
		return onTerminal(cmd, l.typed)
	}
	if l.input != "" {
		cmd.Stdin = strings.NewReader(l.input)
	}
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	return outcome{out.String(), errs.String(), exitCode(cmd, err)}
}

// fill puts the folder of the group's files into a word.
func (s *side) fill(w string) string {
	pairs := append([]string{"$WORK", filepath.Join(s.dir, "work"), "$DISK", disk(), "${PORT}", s.ports, "$DOCKER", strings.Join(s.program, " ")}, s.words...)
	return strings.NewReplacer(pairs...).Replace(w)
}

// disk is a block device of the machine.
func disk() string {
	data, _ := os.ReadFile("/proc/partitions")
	for l := range strings.Lines(string(data)) {
		if f := strings.Fields(l); len(f) == 4 && f[2] != "0" && f[3] != "name" && !strings.HasPrefix(f[3], "loop") {
			if _, err := os.Stat("/sys/block/" + f[3]); err == nil {
				return "/dev/" + f[3]
			}
		}
	}
	return "/dev/none"
}

func exitCode(cmd *exec.Cmd, err error) int {
	if cmd.ProcessState == nil || cmd.ProcessState.ExitCode() < 0 {
		return stopped
	}
	if err != nil && cmd.ProcessState.ExitCode() == 0 {
		return stopped
	}
	return cmd.ProcessState.ExitCode()
}

// onTerminal runs a command on a terminal and types something on it.
func onTerminal(cmd *exec.Cmd, typed string) outcome {
	master, slave, err := terminal()
	if err != nil {
		return outcome{stderr: err.Error(), code: stopped}
	}
	defer master.Close()
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		slave.Close()
		return outcome{stderr: err.Error(), code: stopped}
	}
	slave.Close()
	shown := make(chan string, 1)
	go func() {
		var b bytes.Buffer
		_, _ = b.ReadFrom(master) // ends with EIO when nobody has the terminal
		shown <- b.String()
	}()
	_, _ = master.WriteString(typed)
	err = cmd.Wait()
	o := outcome{code: exitCode(cmd, err)}
	select {
	case text := <-shown:
		o.stdout = strings.ReplaceAll(text, "\r", "")
	case <-time.After(5 * time.Second):
		o.stderr = "the terminal stays open"
	}
	return o
}

func terminal() (master, slave *os.File, err error) {
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, nil, err
	}
	master = os.NewFile(uintptr(fd), "/dev/ptmx")
	if err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err == nil {
		var n uintptr
		if n, _, err = ptsOpen(fd); err == nil {
			return master, os.NewFile(n, "pts"), nil
		}
	}
	master.Close()
	return nil, nil, err
}

// ptsOpen opens the other end through the master, so that it does not matter
// which devpts is mounted.
func ptsOpen(master int) (uintptr, uintptr, error) {
	n, r, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(master), unix.TIOCGPTPEER, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC)
	if errno != 0 {
		return 0, 0, errno
	}
	return n, r, nil
}

// must runs a command of a side's that has to end well.
func (s *side) must(t *testing.T, input []byte, args ...string) string {
	t.Helper()
	cmd := exec.Command(s.program[0], append(s.program[1:len(s.program):len(s.program)], args...)...)
	cmd.Env, cmd.Stdin = s.env, bytes.NewReader(input)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s%s", strings.Join(args, " "), err, out, errs.String())
	}
	return string(out)
}
