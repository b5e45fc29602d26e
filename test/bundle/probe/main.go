// Command probe runs inside test containers and tells, in JSON, what it
// sees and what it may do.
//
// It is static, needs nothing of the root file system, and is built once per
// source state by package bundle. It is not a test itself: it reports, the
// tests judge. It belongs to the tests, outside the rows.
//
//	probe                      the report (package report) on stdout
//	probe VERB ARGS…           one verb; prints its answer, or the error's name with exit code 1
//	probe do VERB ARGS… -- VERB ARGS… …
//	                           several verbs; prints a JSON list of {verb, out, err}
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// verbs maps each word to what it does: an answer or an error, whose errno
// (when it has one) is what is printed.
var verbs map[string]func(args []string) (string, error)

func init() {
	runtime.LockOSThread() // status files and prctl speak of the main thread
	verbs = map[string]func([]string) (string, error){}
	addFileVerbs()
	addProcessVerbs()
	addKernelVerbs()
	addAttackVerbs()
}

func main() {
	args := os.Args[1:]
	switch {
	case len(args) == 0 || args[0] == "report":
		encode(takeReport())
	case args[0] == "do":
		encode(doAll(args[1:]))
	default:
		out, err := one(args)
		if err != nil {
			fmt.Println(errorName(err))
			os.Exit(1)
		}
		fmt.Println(out)
	}
}

// encode prints v as one JSON line and ends the process: 3 when that fails.
func encode(v any) {
	if err := json.NewEncoder(os.Stdout).Encode(v); err != nil {
		fmt.Fprintln(os.Stderr, "probe:", err)
		os.Exit(3)
	}
}

// answer is one verb's outcome in the list that `do` prints.
type answer struct {
	Verb string `json:"verb"`
	Out  string `json:"out,omitempty"`
	Err  string `json:"err,omitempty"`
}

func doAll(args []string) []answer {
	var all []answer
	for len(args) > 0 {
		end := 0
		for end < len(args) && args[end] != "--" {
			end++
		}
		if end > 0 {
			a := answer{Verb: strings.Join(args[:end], " ")}
			out, err := one(args[:end])
			a.Out = out
			if err != nil {
				a.Err = errorName(err)
			}
			all = append(all, a)
		}
		args = args[min(end+1, len(args)):]
	}
	return all
}

func one(args []string) (string, error) {
	f, ok := verbs[args[0]]
	if !ok {
		return "", fmt.Errorf("unknown verb %q", args[0])
	}
	return f(args[1:])
}

// errorName is the errno's name where there is one, so that answers do not
// depend on a library's wording.
func errorName(err error) string {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		if name := unix.ErrnoName(errno); name != "" {
			return name
		}
		return fmt.Sprintf("errno %d", int(errno))
	}
	return err.Error()
}
