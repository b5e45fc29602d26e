package applet

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
)

func grep(_ string, args []string) int {
	f := newFlags("grep")
	ignore, invert, quiet := f.Bool("i", false, "any case"), f.Bool("v", false, "lines that do not match"), f.Bool("q", false, "no output")
	n, c, l := f.Bool("n", false, "line numbers"), f.Bool("c", false, "counts"), f.Bool("l", false, "names of files")
	fixed, only, word := f.Bool("F", false, "no pattern, a text"), f.Bool("o", false, "what matches alone"), f.Bool("w", false, "whole words")
	f.Bool("E", false, "extended pattern (always)")
	e := f.String("e", "", "pattern")
	rest, err := f.parse(args)
	if err == nil && *e == "" {
		if len(rest) == 0 {
			err = errors.New("which pattern?")
		} else {
			*e, rest = rest[0], rest[1:]
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "grep:", err)
		return 2
	}
	pattern := *e
	if *fixed {
		pattern = regexp.QuoteMeta(pattern)
	}
	if *word {
		pattern = `\b(?:` + pattern + `)\b`
	}
	if *ignore {
		pattern = "(?i)" + pattern
	}
	re, err := regexp.Compile(pattern)
	if err != nil {
		fmt.Fprintln(os.Stderr, "grep:", err)
		return 2
	}
	o := grepOptions{invert: *invert, quiet: *quiet, numbers: *n, counts: *c, names: *l, only: *only && !*invert, many: len(rest) > 1}
	return o.search(re, rest)
}

// grepOptions say what grep prints.
type grepOptions struct {
	invert, quiet, numbers, counts, names, only, many bool
}

func (o grepOptions) search(re *regexp.Regexp, files []string) int {
	found := false
	out := bufio.NewWriter(os.Stdout)
	err := each(files, func(name string, r io.Reader) error {
		s, at, hits := lineScanner(r), 0, 0
		prefix := ""
		if o.many {
			prefix = name + ":"
		}
		for s.Scan() {
			at++
			if re.Match(s.Bytes()) == o.invert {
				continue
			}
			found = true
			hits++
			switch {
			case o.quiet, o.names:
				if o.names {
					fmt.Fprintln(out, name)
				}
				return nil
			case o.counts:
			default:
				texts := []string{s.Text()}
				if o.only {
					texts = re.FindAllString(s.Text(), -1)
				}
				for _, text := range texts {
					out.WriteString(prefix)
					if o.numbers {
						fmt.Fprintf(out, "%d:", at)
					}
					fmt.Fprintln(out, text)
				}
			}
		}
		if o.counts {
			fmt.Fprintf(out, "%s%d\n", prefix, hits)
		}
		return s.Err()
	})
	out.Flush()
	switch {
	case found && (err == nil || o.quiet):
		return 0
	case err != nil:
		return 2
	}
	return 1
}
