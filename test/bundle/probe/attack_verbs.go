package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// addAttackVerbs adds what a hostile container does:
//
//	hunt SECONDS [trace|quiet]
//	                         goes for every process that is not its own program: opens
//	                         its executable, lists its files, traces it; then tries to
//	                         write to the executables. Prints counts.
//	exchange A B SECONDS     swaps two names as fast as it can (renameat2(2))
//	session-key NAME         looks for a key of type user in the session keyring
func addAttackVerbs() {
	verbs["hunt"] = hunt
	verbs["exchange"] = exchange
	verbs["session-key"] = func(a []string) (string, error) {
		_, err := unix.KeyctlSearch(unix.KEY_SPEC_SESSION_KEYRING, "user", arg(a, 0, ""), 0)
		return "found", err
	}
}

func seconds(s string) time.Time {
	n, err := strconv.ParseFloat(s, 64)
	if err != nil {
		n = 1
	}
	return time.Now().Add(time.Duration(n * float64(time.Second)))
}

// maxKept caps how many executables hunt holds on to.
const maxKept = 200

func hunt(a []string) (string, error) {
	var kept []int
	names := map[string]bool{}
	listed, traced, seen := 0, 0, map[string]bool{}
	fmt.Println("hunting")
	for end := seconds(arg(a, 0, "1")); time.Now().Before(end); {
		all, err := pids(nil)
		if err != nil {
			return "", err
		}
		for _, pid := range strings.Fields(all) {
			exe, err := os.Readlink("/proc/" + pid + "/exe")
			if err == nil && (exe == "/probe" || strings.HasPrefix(exe, "/bin/")) || pid == strconv.Itoa(os.Getpid()) {
				continue
			}
			seen[pid] = true
			if fd, err := unix.Open("/proc/"+pid+"/exe", unix.O_RDONLY|unix.O_CLOEXEC, 0); err == nil {
				// It may have become the container's own program meanwhile.
				exe, _ = os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd))
				if own(exe) || len(kept) == maxKept {
					unix.Close(fd)
				} else {
					kept, names[exe] = append(kept, fd), true
				}
			}
			if fds, err := os.ReadDir("/proc/" + pid + "/fd"); err == nil && len(fds) > 0 && !own(exeOf(pid)) {
				listed++
			}
			if n := number(pid); arg(a, 1, "trace") == "trace" && !own(exeOf(pid)) && unix.PtraceSeize(n) == nil {
				if e := exeOf(pid); e != "" && !own(e) {
					traced++
				}
				_ = unix.PtraceDetach(n)
			}
		}
	}
	time.Sleep(time.Second) // a program that still runs cannot be written
	written, why := overwrite(kept)
	return fmt.Sprintf("seen %d opened %d listed %d traced %d written %d %v %v", len(seen), len(kept), listed, traced, written, names, why), nil
}

// overwrite tries to write to open files, and counts successes and reasons.
func overwrite(kept []int) (written int, why map[string]int) {
	why = map[string]int{}
	for _, fd := range kept {
		w, err := unix.Open(fmt.Sprintf("/proc/self/fd/%d", fd), unix.O_WRONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			why[errorName(err)]++
			continue
		}
		if _, err := unix.Write(w, []byte{0x7f}); err == nil { // an ELF file's first byte as it is
			written++
		}
		unix.Close(w)
	}
	return written, why
}

// own tells whether an executable is the container's, or cannot be told.
func own(exe string) bool {
	return exe == "/probe" || exe == "" || strings.HasPrefix(exe, "/bin/")
}

func exeOf(pid string) string {
	exe, _ := os.Readlink("/proc/" + pid + "/exe")
	return exe
}

func exchange(a []string) (string, error) {
	if len(a) != 3 {
		return "", errArgs
	}
	fmt.Println("exchanging")
	n := 0
	for end := seconds(a[2]); time.Now().Before(end); n++ {
		if err := unix.Renameat2(unix.AT_FDCWD, a[0], unix.AT_FDCWD, a[1], unix.RENAME_EXCHANGE); err != nil {
			return "", err
		}
	}
	return strconv.Itoa(n), nil
}
