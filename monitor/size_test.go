package monitor

import (
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"berth/runtime"
	"berth/sys/clone"
)

func attrOf(self *os.File, sock int) *clone.Attr {
	return &clone.Attr{CgroupDir: -1, Program: int(self.Fd()), Sock: sock, SockArg: 1, Argv: []string{"first-process", "SOCK", "pipes", "true"}}
}

// memory returns KB of private and resident memory of a process.
func memory(t testing.TB, pid int) (private, resident int) {
	t.Helper()
	b, err := os.ReadFile("/proc/" + itoa(pid) + "/smaps_rollup")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`(?m)^(Rss|Private_Clean|Private_Dirty): +(\d+) kB`).FindAllStringSubmatch(string(b), -1) {
		n, _ := strconv.Atoi(m[2])
		if m[1] == "Rss" {
			resident = n
		} else {
			private += n
		}
	}
	return private, resident
}

func peak(t testing.TB, pid int) int {
	t.Helper()
	b, err := os.ReadFile("/proc/" + itoa(pid) + "/status")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`VmHWM:\s+(\d+) kB`).FindSubmatch(b)
	n, _ := strconv.Atoi(string(m[1]))
	return n
}

// Idle: below 1 MB private, 3 MB resident; after 10 MB of log, an attach and an
// exec below 2 MB private.
func TestMemory(t *testing.T) {
	// Several at once share the program's pages, as containers' monitors do.
	other := newStand(t)
	other.start()
	other.first("exec sleep 1000")

	s := newStand(t)
	s.start()
	gate := fifo(t)
	s.first("read x < " + gate + "; seq 1000000 2400000; read x < " + gate)
	settle(t, s)
	private, resident := memory(t, s.conn.pid)
	t.Logf("idle: %d KB private, %d KB resident", private, resident)
	if private >= 1024 || resident >= 3072 {
		t.Errorf("idle: %d KB private, %d KB resident", private, resident)
	}

	st := s.attach(Want{Stdout: true})
	must(t, os.WriteFile(gate, []byte("\n"), 0))
	must(t, st.Stdout.SetReadDeadline(time.Now().Add(patience)))
	n, err := io.CopyN(io.Discard, st.Stdout, 10<<20)
	if err != nil || n != 10<<20 {
		t.Fatal(n, err)
	}
	st.Close()
	b, err := cloneShell(s.conn, "true", false, 0)
	must(t, err)
	must(t, s.conn.Spoken(b.pid))
	must(t, s.conn.Session("s1", b.pid, false))
	exit := s.watch(s.conn, "s1")
	theirs, _, err := Pipes([3]bool{false, false, false}, os.Getuid(), os.Getgid(), "", nil)
	must(t, err)
	must(t, b.equip(theirs[:]...))
	exit()
	settle(t, s)
	private, resident = memory(t, s.conn.pid)
	t.Logf("after 10 MB of log, an attach, an exec: %d KB private, %d KB resident, peak %d KB", private, resident, peak(t, s.conn.pid))
	if private >= 2048 {
		t.Errorf("after work: %d KB private", private)
	}
}

// settle waits until the monitor has given back what it does not need.
func settle(t *testing.T, s *stand) {
	t.Helper()
	last := time.Duration(-1)
	eventually(t, "the monitor rests", func() bool {
		time.Sleep(500 * time.Millisecond)
		now := cpuTime(t, s)
		same := now == last
		last = now
		return same
	})
}

// A line of a gigabyte takes no more memory than a short one.
func TestHugeLine(t *testing.T) {
	s := newStand(t)
	s.cfg.Log.MaxSize, s.cfg.Log.MaxFile = 10<<20, 3
	s.start()
	st := s.attach(Want{Stdout: true})
	counted := make(chan int64)
	go func() {
		n, _ := io.Copy(io.Discard, st.Stdout)
		counted <- n
	}()
	gate := fifo(t)
	began := time.Now()
	s.first("dd if=/dev/zero bs=1M count=1024 status=none | tr '\\0' x; read x < " + gate)
	eventually(t, "all is logged", func() bool {
		status, err := s.conn.Status()
		must(t, err)
		return status.Logged == 1<<30
	})
	t.Logf("1 GB in %s, %s of CPU, peak %d KB", time.Since(began), cpuTime(t, s), peak(t, s.conn.pid))
	if p := peak(t, s.conn.pid); p > 8<<10 {
		t.Errorf("peak of %d KB", p)
	}
	must(t, os.WriteFile(gate, []byte("\n"), 0))
	if n := <-counted; n != 1<<30 {
		t.Errorf("the client got %d bytes", n)
	}
	for i, name := range []string{"", ".1", ".2", ".3"} {
		info, err := os.Stat(s.cfg.Log.Path + name)
		if i == 3 {
			if !os.IsNotExist(err) {
				t.Errorf("a fourth file: %v", err)
			}
			continue
		}
		must(t, err)
		if info.Size() > 10<<20+20<<10 {
			t.Errorf("%s has %d bytes", info.Name(), info.Size())
		}
	}
}

// Log files are compressed by a word, oldest go.
func TestCompressedLogs(t *testing.T) {
	s := newStand(t)
	s.cfg.Log.MaxSize, s.cfg.Log.MaxFile, s.cfg.Log.Compress = 10000, 3, true
	s.cfg.Words = Words{Compress: []string{"/bin/sh", "-c", "exec gzip -c"}, Env: []string{"PATH=/usr/bin:/bin"}}
	s.start()
	s.first("for i in 1 2 3 4 5; do seq 1 200; sleep 0.3; done")
	s.monitorGone(s.conn.pid)
	for _, name := range []string{"", ".1.gz", ".2.gz"} {
		if _, err := os.Stat(s.cfg.Log.Path + name); err != nil {
			t.Error(err)
		}
	}
	entries, err := os.ReadDir(s.cfg.Dir)
	must(t, err)
	for _, e := range entries {
		if strings.Contains(e.Name(), ".tmp") || strings.HasSuffix(e.Name(), ".log.1") {
			t.Errorf("left behind: %s", e.Name())
		}
	}
}

// Descriptors do not pile up.
func TestNoLeakedDescriptors(t *testing.T) {
	s := newStand(t)
	s.start()
	s.first("exec sleep 1000")
	count := func() int {
		list, err := os.ReadDir("/proc/" + itoa(s.conn.pid) + "/fd")
		must(t, err)
		return len(list)
	}
	round := func(i int) {
		c, err := Dial(s.cfg.Dir)
		must(t, err)
		theirs, ours, err := Pipes([3]bool{true, true, true}, os.Getuid(), os.Getgid(), "", nil)
		must(t, err)
		b, err := cloneShell(c, "exit 1", false, 0)
		must(t, err)
		must(t, c.Spoken(b.pid))
		must(t, c.Session("s"+itoa(i), b.pid, false, ours.Stdout, ours.Stderr))
		exit := s.watch(c, "s"+itoa(i))
		must(t, b.equip(theirs[:]...))
		closeAll(theirs[:])
		exit()
		ours.Close()
		st, err := c.Attach(Want{Stdin: true, Stdout: true})
		must(t, err)
		st.Close()
		c.Close()
	}
	round(0)
	var before int
	eventually(t, "quiet", func() bool {
		before = count()
		time.Sleep(50 * time.Millisecond)
		return count() == before
	})
	for i := range 100 {
		round(i + 1)
	}
	before += 2 // the Go runtime opens two for its timers some time
	for deadline := time.Now().Add(patience / 4); count() > before; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			list, _ := filepath.Glob("/proc/" + itoa(s.conn.pid) + "/fd/*")
			for _, fd := range list {
				to, _ := os.Readlink(fd)
				t.Log(fd, to)
			}
			t.Fatalf("%d descriptors, %d before", len(list), before)
		}
	}
}

func BenchmarkClone(b *testing.B) {
	dir := b.TempDir()
	prog, err := runtime.Helper()
	if err != nil {
		b.Fatal(err)
	}
	defer prog.Close()
	c, err := start(prog, Config{ID: "c1", Dir: dir}, Place{})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { c.Close(); c.Reap() }()
	for b.Loop() {
		p, err := cloneShell(c, "true", false, 0)
		if err != nil {
			b.Fatal(err)
		}
		if err := c.Abandon(p.pid); err != nil {
			b.Fatal(err)
		}
		unix.Close(p.sock)
	}
}

func BenchmarkStatus(b *testing.B) {
	dir := b.TempDir()
	prog, err := runtime.Helper()
	if err != nil {
		b.Fatal(err)
	}
	defer prog.Close()
	c, err := start(prog, Config{ID: "c1", Dir: dir}, Place{})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { c.Close(); c.Reap() }()
	for b.Loop() {
		if _, err := c.Status(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkStart(b *testing.B) {
	prog, err := runtime.Helper()
	if err != nil {
		b.Fatal(err)
	}
	defer prog.Close()
	dir := b.TempDir()
	for i := 0; b.Loop(); i++ {
		c, err := start(prog, Config{ID: "c1", Dir: dir}, Place{})
		if err != nil {
			b.Fatal(err)
		}
		if _, err := c.Status(); err != nil {
			b.Fatal(err)
		}
		c.Close()
		c.Reap()
	}
}

// BenchmarkLog is a million lines through a FIFO into the log.
func BenchmarkLog(b *testing.B) {
	in := filepath.Join(b.TempDir(), "in")
	text := strings.Repeat("a line of a log that is about as long as lines are usually\n", 1_000_000)
	if err := os.WriteFile(in, []byte(text), 0o600); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(text)))
	prog, err := runtime.Helper()
	if err != nil {
		b.Fatal(err)
	}
	defer prog.Close()
	for b.Loop() {
		dir := b.TempDir()
		cfg := Config{ID: "c1", Dir: dir, Log: Log{Driver: "json-file", Path: filepath.Join(dir, "log")}}
		c, err := start(prog, cfg, Place{})
		if err != nil {
			b.Fatal(err)
		}
		var pid int
		if err := firstOf(c, &cfg, "exec cat "+in, &pid); err != nil {
			b.Fatal(err)
		}
		c.Reap()
		c.Close()
	}
}
