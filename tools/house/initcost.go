package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// budget is one line of budget.txt: what the init work of all packages of a
// program may allocate before main begins.
type budget struct {
	program string
	allocs  int
	args    []string // a command line that ends at once and changes nothing
}

// parseBudgets reads "program | allocations | arguments" lines.
func parseBudgets(text []byte) ([]budget, error) {
	var out []budget
	for _, line := range tableLines(text) {
		f := strings.Split(line, "|")
		if len(f) != 3 {
			return nil, fmt.Errorf("budget line %q: want program | allocations | arguments", line)
		}
		n, err := strconv.Atoi(strings.TrimSpace(f[1]))
		if err != nil {
			return nil, fmt.Errorf("budget line %q: %w", line, err)
		}
		out = append(out, budget{strings.TrimSpace(f[0]), n, strings.Fields(f[2])})
	}
	return out, nil
}

// initCost is what package initialisation did in one run.
type initCost struct {
	allocs, bytes int
	worst         string // the package with the most allocations
}

// initLine is a line of GODEBUG=inittrace=1 (package runtime, "GODEBUG").
var initLine = regexp.MustCompile(`^init (\S+) @.* (\d+) bytes, (\d+) allocs$`)

func parseInitTrace(stderr []byte) initCost {
	var c initCost
	most := -1
	for line := range bytes.Lines(stderr) {
		m := initLine.FindSubmatch(bytes.TrimSpace(line))
		if m == nil {
			continue
		}
		size, _ := strconv.Atoi(string(m[2]))
		n, _ := strconv.Atoi(string(m[3]))
		c.bytes += size
		c.allocs += n
		if n > most {
			most, c.worst = n, fmt.Sprintf("%s (%d)", m[1], n)
		}
	}
	return c
}

// measureInit builds a program as make does and runs it once. How the program
// ends does not matter, only that it does within ten seconds.
func measureInit(root, scratch string, b budget) (initCost, error) {
	binary := filepath.Join(scratch, b.program)
	build := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-o", binary, "./cmd/"+b.program)
	build.Dir = root
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=")
	if text, err := build.CombinedOutput(); err != nil {
		return initCost{}, fmt.Errorf("build %s: %w: %s", b.program, err, text)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	run := exec.CommandContext(ctx, binary, b.args...)
	run.Dir = scratch
	run.Env = append(os.Environ(), "GODEBUG=inittrace=1")
	var stderr bytes.Buffer
	run.Stderr = &stderr
	err := run.Run()
	if ctx.Err() != nil {
		return initCost{}, fmt.Errorf("%s %s did not end within ten seconds", b.program, strings.Join(b.args, " "))
	}
	c := parseInitTrace(stderr.Bytes())
	if c.worst == "" {
		return c, fmt.Errorf("%s %s printed no init lines (%v): %s", b.program, strings.Join(b.args, " "), err, stderr.Bytes())
	}
	return c, nil
}
