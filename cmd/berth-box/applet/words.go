package applet

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
)

func tee(args []string) error {
	f := newFlags("tee")
	a := f.Bool("a", false, "append")
	names, err := f.parse(args)
	if err != nil {
		return err
	}
	to := []io.Writer{os.Stdout}
	mode := os.O_TRUNC
	if *a {
		mode = os.O_APPEND
	}
	for _, n := range names {
		file, err := os.OpenFile(n, os.O_WRONLY|os.O_CREATE|mode, 0o666)
		if err != nil {
			return err
		}
		defer file.Close()
		to = append(to, file)
	}
	_, err = io.Copy(io.MultiWriter(to...), os.Stdin)
	return err
}

func echo(args []string) error {
	end := "\n"
	for len(args) > 0 && (args[0] == "-n" || args[0] == "-e") {
		if args[0] == "-n" {
			end = ""
		}
		args = args[1:]
	}
	_, err := os.Stdout.WriteString(strings.Join(args, " ") + end)
	return err
}

func yes(args []string) error {
	line := "y\n"
	if len(args) > 0 {
		line = strings.Join(args, " ") + "\n"
	}
	block := []byte(strings.Repeat(line, 1+4096/len(line)))
	for {
		if _, err := os.Stdout.Write(block); err != nil {
			return errQuiet
		}
	}
}

func seq(args []string) error {
	first, step, last := 1, 1, 0
	at := []*int{&last}
	switch len(args) {
	case 2:
		at = []*int{&first, &last}
	case 3:
		at = []*int{&first, &step, &last}
	}
	if len(args) != len(at) {
		return errors.New("takes [FIRST [STEP]] LAST")
	}
	for i, a := range args {
		v, err := strconv.Atoi(a)
		if err != nil {
			return fmt.Errorf("%q is no number", a)
		}
		*at[i] = v
	}
	if step == 0 {
		return errors.New("a step of 0 never ends")
	}
	out := bufio.NewWriter(os.Stdout)
	for i := first; step > 0 && i <= last || step < 0 && i >= last; i += step {
		fmt.Fprintln(out, i)
	}
	return out.Flush()
}
