package monitor

import (
	"os"
	"strconv"
	"time"
)

func itoa(n int) string { return strconv.Itoa(n) }

// engineChild is an engine in a process of its own: one that a monitor starts,
// or one that is killed.
func engineChild() {
	dir := os.Args[3]
	switch os.Args[2] {
	case "restart":
		c, err := Dial(dir)
		check(err)
		var pid int
		check(firstOf(c, &Config{Dir: dir}, "echo another run", &pid))
		os.Stdout.WriteString("end\n")
	case "dial": // as whoever we are
		c, err := Dial(dir)
		check(err)
		_, err = c.Status()
		check(err)
	case "exec": // starts a session, tells its pid, and waits to be killed
		c, err := Dial(dir)
		check(err)
		theirs, ours, err := Pipes([3]bool{false, true, true}, os.Getuid(), os.Getgid(), "", nil)
		check(err)
		b, err := cloneShell(c, os.Args[4], false, 0)
		check(err)
		check(c.Spoken(b.pid))
		check(c.Session("s1", b.pid, false, ours.Stdout, ours.Stderr))
		check(b.equip(theirs[:]...))
		closeAll(theirs[:])
		os.Stdout.WriteString(itoa(b.pid) + "\n")
		time.Sleep(time.Hour)
	}
	os.Exit(0)
}
