package applet

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

func env(name string, args []string) int {
	vars := os.Environ()
	for len(args) > 0 {
		switch a := args[0]; {
		case a == "-i" || a == "-":
			vars = nil
		case a == "-u" && len(args) > 1:
			vars = slices.DeleteFunc(vars, func(v string) bool { return strings.HasPrefix(v, args[1]+"=") })
			args = args[1:]
		case strings.Contains(a, "="):
			key, _, _ := strings.Cut(a, "=")
			vars = append(slices.DeleteFunc(vars, func(v string) bool { return strings.HasPrefix(v, key+"=") }), a)
		default:
			return execute(name, args, vars)
		}
		args = args[1:]
	}
	for _, v := range vars {
		fmt.Println(v)
	}
	return 0
}

// execute becomes another program.
func execute(name string, args, vars []string) int {
	path, err := exec.LookPath(args[0])
	if err == nil {
		err = unix.Exec(path, args, vars)
	}
	fmt.Fprintf(os.Stderr, "%s: %s: %v\n", name, args[0], err)
	if errors.Is(err, exec.ErrNotFound) || errors.Is(err, os.ErrNotExist) {
		return 127
	}
	return 126
}

func printenv(args []string) error {
	if len(args) == 0 {
		env("printenv", nil)
		return nil
	}
	var err error
	for _, a := range args {
		v, ok := os.LookupEnv(a)
		if !ok {
			err = errQuiet
			continue
		}
		fmt.Println(v)
	}
	return err
}

func sleep(args []string) error {
	if len(args) == 0 {
		return errors.New("for how long?")
	}
	var sum time.Duration
	for _, a := range args {
		d, err := duration(a)
		if err != nil {
			return err
		}
		sum += d
	}
	time.Sleep(sum)
	return nil
}

// duration reads 1.5, 2m, 3h, 1d, infinity.
func duration(s string) (time.Duration, error) {
	if s == "infinity" || s == "inf" {
		return 1<<63 - 1, nil
	}
	unit := time.Second
	switch s[len(s)-min(1, len(s)):] {
	case "s":
		s = s[:len(s)-1]
	case "m":
		unit, s = time.Minute, s[:len(s)-1]
	case "h":
		unit, s = time.Hour, s[:len(s)-1]
	case "d":
		unit, s = 24*time.Hour, s[:len(s)-1]
	}
	v, err := strconv.ParseFloat(s, 64)
	if err != nil || v < 0 {
		return 0, fmt.Errorf("%q is no time", s)
	}
	return time.Duration(v * float64(unit)), nil
}

// timeout ends a command after a time: exit code 124, as coreutils'.
func timeout(name string, args []string) int {
	sig := syscall.SIGTERM
	for len(args) > 1 && (args[0] == "-s" || args[0] == "--signal") {
		var err error
		if sig, err = signalOf(args[1]); err != nil {
			fmt.Fprintln(os.Stderr, "timeout:", err)
			return 125
		}
		args = args[2:]
	}
	if len(args) < 2 {
		fmt.Fprintln(os.Stderr, "timeout: takes [-s SIGNAL] TIME COMMAND…")
		return 125
	}
	d, err := duration(args[0])
	if err != nil {
		fmt.Fprintln(os.Stderr, "timeout:", err)
		return 125
	}
	cmd := exec.Command(args[1], args[2:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	if err := cmd.Start(); err != nil {
		fmt.Fprintln(os.Stderr, "timeout:", err)
		return 127
	}
	ctx, stop := context.WithTimeout(context.Background(), d)
	defer stop()
	over := context.AfterFunc(ctx, func() {
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			_ = cmd.Process.Signal(sig)
		}
	})
	err = cmd.Wait()
	if !over() && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return 124
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		if ws := exit.Sys().(syscall.WaitStatus); ws.Signaled() {
			return 128 + int(ws.Signal())
		}
		return exit.ExitCode()
	}
	return 0
}

func kill(args []string) error {
	sig := syscall.SIGTERM
	for len(args) > 0 && strings.HasPrefix(args[0], "-") {
		word := args[0][1:]
		if word == "l" {
			for i := syscall.Signal(1); i < 32; i++ {
				fmt.Println(strings.TrimPrefix(unix.SignalName(i), "SIG"))
			}
			return nil
		}
		if word == "s" && len(args) > 1 {
			word, args = args[1], args[1:]
		}
		var err error
		if sig, err = signalOf(word); err != nil {
			return err
		}
		args = args[1:]
	}
	for _, a := range args {
		pid, err := strconv.Atoi(a)
		if err != nil {
			return fmt.Errorf("%q is no process", a)
		}
		if err := syscall.Kill(pid, sig); err != nil {
			return fmt.Errorf("%d: %w", pid, err)
		}
	}
	return nil
}

func signalOf(s string) (syscall.Signal, error) {
	if n, err := strconv.Atoi(s); err == nil {
		return syscall.Signal(n), nil
	}
	if n := unix.SignalNum("SIG" + strings.TrimPrefix(strings.ToUpper(s), "SIG")); n != 0 {
		return n, nil
	}
	return 0, fmt.Errorf("%q is no signal", s)
}

func hostname(args []string) error {
	if len(args) > 0 && args[0][0] != '-' {
		return unix.Sethostname([]byte(args[0]))
	}
	h, err := os.Hostname()
	if err == nil {
		fmt.Println(h)
	}
	return err
}

func uname(args []string) error {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return err
	}
	text := func(b []byte) string { return unix.ByteSliceToString(b) }
	letters := strings.ReplaceAll(strings.Join(args, ""), "-", "")
	if letters == "" {
		letters = "s"
	}
	if strings.Contains(letters, "a") {
		letters = "snrvm"
	}
	var out []string
	for _, p := range []struct {
		letter string
		value  []byte
	}{{"s", u.Sysname[:]}, {"n", u.Nodename[:]}, {"r", u.Release[:]}, {"v", u.Version[:]}, {"m", u.Machine[:]}} {
		if strings.Contains(letters, p.letter) {
			out = append(out, text(p.value))
		}
	}
	fmt.Println(strings.Join(out, " "))
	return nil
}

func nproc([]string) error {
	fmt.Println(runtime.NumCPU())
	return nil
}

func nameOf(file string, id int) string {
	entries, _ := colonFile(file)
	for _, e := range entries {
		if len(e) > 2 && e[2] == strconv.Itoa(id) {
			return e[0]
		}
	}
	return ""
}

func whoami([]string) error {
	n := nameOf("/etc/passwd", os.Geteuid())
	if n == "" {
		return fmt.Errorf("no name for user id %d", os.Geteuid())
	}
	fmt.Println(n)
	return nil
}

func id(args []string) error {
	f := newFlags("id")
	u, g, all, n := f.Bool("u", false, "user"), f.Bool("g", false, "group"), f.Bool("G", false, "groups"), f.Bool("n", false, "names")
	if _, err := f.parse(args); err != nil {
		return err
	}
	show := func(file string, id int) string {
		if name := nameOf(file, id); *n && name != "" {
			return name
		}
		return strconv.Itoa(id)
	}
	groups, err := os.Getgroups()
	if err != nil {
		return err
	}
	if !slices.Contains(groups, os.Getegid()) {
		groups = append([]int{os.Getegid()}, groups...)
	}
	switch {
	case *u:
		fmt.Println(show("/etc/passwd", os.Geteuid()))
		return nil
	case *g:
		fmt.Println(show("/etc/group", os.Getegid()))
		return nil
	}
	var list []string
	for _, id := range groups {
		text := show("/etc/group", id)
		if name := nameOf("/etc/group", id); !*all && name != "" {
			text += "(" + name + ")"
		}
		list = append(list, text)
	}
	if *all {
		fmt.Println(strings.Join(list, " "))
		return nil
	}
	with := func(file string, id int) string {
		if name := nameOf(file, id); name != "" {
			return fmt.Sprintf("%d(%s)", id, name)
		}
		return strconv.Itoa(id)
	}
	fmt.Printf("uid=%s gid=%s groups=%s\n", with("/etc/passwd", os.Geteuid()), with("/etc/group", os.Getegid()), strings.Join(list, ","))
	return nil
}

func date(args []string) error {
	now := time.Now()
	layout := "Mon Jan _2 15:04:05 MST 2006"
	for _, a := range args {
		switch {
		case a == "-u":
			now = now.UTC()
		case a == "-Is" || a == "-Iseconds":
			layout = time.RFC3339
		case a == "-R":
			layout = time.RFC1123Z
		case strings.HasPrefix(a, "+"):
			fmt.Println(strftime(a[1:], now))
			return nil
		default:
			return fmt.Errorf("%q: takes -u, -Is, -R or +FORMAT", a)
		}
	}
	fmt.Println(now.Format(layout))
	return nil
}

func strftime(format string, t time.Time) string {
	var b strings.Builder
	for i := 0; i < len(format); i++ {
		if format[i] != '%' || i+1 == len(format) {
			b.WriteByte(format[i])
			continue
		}
		i++
		switch format[i] {
		case 's':
			fmt.Fprint(&b, t.Unix())
		case 'N':
			fmt.Fprintf(&b, "%09d", t.Nanosecond())
		case 'n':
			b.WriteByte('\n')
		case '%':
			b.WriteByte('%')
		default:
			layout, ok := map[byte]string{'Y': "2006", 'm': "01", 'd': "02", 'H': "15", 'M': "04", 'S': "05", 'y': "06", 'j': "002", 'a': "Mon", 'A': "Monday",
				'b': "Jan", 'B': "January", 'Z': "MST", 'z': "-0700", 'F': "2006-01-02", 'T': "15:04:05", 'R': "15:04", 'D': "01/02/06", 'e': "_2", 'I': "03", 'p': "PM"}[format[i]]
			if !ok {
				layout = "%" + string(format[i])
			}
			b.WriteString(t.Format(layout))
		}
	}
	return b.String()
}

func tty(_ string, args []string) int {
	if !term.IsTerminal(0) {
		if len(args) == 0 {
			fmt.Println("not a tty")
		}
		return 1
	}
	p, err := os.Readlink("/proc/self/fd/0")
	if err != nil {
		p = "/dev/console"
	}
	fmt.Println(p)
	return 0
}

// expr does sums and comparisons of two words, which is what scripts ask for.
func expr(args []string) error {
	if len(args) == 1 {
		fmt.Println(args[0])
		return nil
	}
	if len(args) != 3 {
		return errors.New("takes A OPERATOR B; a shell's $((…)) does more")
	}
	a, errA := strconv.ParseInt(args[0], 10, 64)
	b, errB := strconv.ParseInt(args[2], 10, 64)
	truth := func(t bool) int64 { return map[bool]int64{true: 1}[t] }
	order := strings.Compare(args[0], args[2])
	numbers := errA == nil && errB == nil
	if numbers {
		order = int(truth(a > b) - truth(a < b))
	}
	var v int64
	switch op := args[1]; op {
	case "=":
		v = truth(order == 0)
	case "!=":
		v = truth(order != 0)
	case "<":
		v = truth(order < 0)
	case ">":
		v = truth(order > 0)
	case "<=":
		v = truth(order <= 0)
	case ">=":
		v = truth(order >= 0)
	case "+", "-", "*", "/", "%":
		if !numbers || b == 0 && (op == "/" || op == "%") {
			return fmt.Errorf("%s %s %s: not to be computed", args[0], op, args[2])
		}
		v = map[string]func() int64{"+": func() int64 { return a + b }, "-": func() int64 { return a - b }, "*": func() int64 { return a * b },
			"/": func() int64 { return a / b }, "%": func() int64 { return a % b }}[op]()
	default:
		return fmt.Errorf("%q is no operator", op)
	}
	fmt.Println(v)
	if v == 0 {
		return errQuiet
	}
	return nil
}
