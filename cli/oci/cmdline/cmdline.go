// Package cmdline is the grammar of berth-oci's command line: the flags of a
// verb are declared once, and from that come the parser, the help text, the
// man page and the completions of three shells.
//
// Parsing is that of package flag (one or two dashes, =value or the next word,
// "--" ends the flags), because runc's command line stands on it too. It knows
// no verb of its own and runs nothing. Part of the room cli/oci, row 6.
package cmdline

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// ErrHelp is returned by Parse when -h, -help or --help was given.
var ErrHelp = flag.ErrHelp

// Flag is one declared flag, as documents show it.
type Flag struct {
	Long, Short string
	Value       string // placeholder of the value; "" for a switch
	Usage       string
	Default     string
	Hidden      bool
	Files       bool // the value is a path
}

// Set is the flags of one verb.
type Set struct {
	fs   flag.FlagSet
	List []Flag
}

// NewSet returns an empty set. Its name appears nowhere.
func NewSet() *Set {
	s := &Set{}
	s.fs.Init("", flag.ContinueOnError)
	s.fs.SetOutput(io.Discard)
	s.fs.Usage = func() {}
	return s
}

// declare registers v under the names "long" or "long,s".
func (s *Set) declare(v flag.Value, names string, f Flag) *Flag {
	f.Long, f.Short, _ = strings.Cut(names, ",")
	s.fs.Var(v, f.Long, "")
	if f.Short != "" {
		s.fs.Var(v, f.Short, "")
	}
	s.List = append(s.List, f)
	return &s.List[len(s.List)-1]
}

// Bool declares a switch.
func (s *Set) Bool(p *bool, names, usage string) *Flag {
	return s.declare((*boolValue)(p), names, Flag{Usage: usage})
}

// String declares a flag with a word; what *p holds is its default.
func (s *Set) String(p *string, names, value, usage string) *Flag {
	return s.declare((*stringValue)(p), names, Flag{Value: value, Usage: usage, Default: *p})
}

// Path is String for the path of a file or folder.
func (s *Set) Path(p *string, names, usage string) *Flag {
	return s.declare((*stringValue)(p), names, Flag{Value: "PATH", Usage: usage, Default: *p, Files: true})
}

// Int declares a flag with a whole number in Go's notation.
func (s *Set) Int(p *int, names, value, usage string) *Flag {
	return s.declare((*intValue)(p), names, Flag{Value: value, Usage: usage})
}

// Duration declares a flag with a time such as 5s or 1m30s.
func (s *Set) Duration(p *time.Duration, names, usage string) *Flag {
	return s.declare((*durationValue)(p), names, Flag{Value: "TIME", Usage: usage, Default: p.String()})
}

// Strings declares a flag that may be given many times; each adds one word.
func (s *Set) Strings(p *[]string, names, value, usage string) *Flag {
	return s.declare((*stringsValue)(p), names, Flag{Value: value, Usage: usage + " (may be repeated)"})
}

// Uint32s declares a flag that may be given many times with an id.
func (s *Set) Uint32s(p *[]uint32, names, value, usage string) *Flag {
	return s.declare((*uint32sValue)(p), names, Flag{Value: value, Usage: usage + " (may be repeated)"})
}

// ParseLeading parses flags up to the first other word and returns the rest.
func (s *Set) ParseLeading(args []string) ([]string, error) {
	if err := s.fs.Parse(args); err != nil {
		return nil, err
	}
	return s.fs.Args(), nil
}

// Parse parses flags wherever they stand before "--", as runc does for most
// verbs, and returns the other words.
func (s *Set) Parse(args []string) ([]string, error) {
	var words []string
	for {
		rest, err := s.ParseLeading(args)
		if err != nil {
			return nil, err
		}
		if read := len(args) - len(rest); read > 0 && args[read-1] == "--" || len(rest) == 0 {
			return append(words, rest...), nil
		}
		words = append(words, rest[0])
		args = rest[1:]
	}
}

var errParse = errors.New("parse error")

type boolValue bool

func (b *boolValue) String() string   { return strconv.FormatBool(bool(*b)) }
func (b *boolValue) IsBoolFlag() bool { return true }
func (b *boolValue) Set(s string) error {
	v, err := strconv.ParseBool(s)
	if err != nil {
		return errParse
	}
	*b = boolValue(v)
	return nil
}

type stringValue string

func (v *stringValue) String() string     { return string(*v) }
func (v *stringValue) Set(s string) error { *v = stringValue(s); return nil }

type intValue int

func (v *intValue) String() string { return strconv.Itoa(int(*v)) }
func (v *intValue) Set(s string) error {
	n, err := strconv.ParseInt(s, 0, strconv.IntSize)
	if err != nil {
		return errParse
	}
	*v = intValue(n)
	return nil
}

type durationValue time.Duration

func (v *durationValue) String() string { return time.Duration(*v).String() }
func (v *durationValue) Set(s string) error {
	d, err := time.ParseDuration(s)
	if err != nil {
		return errParse
	}
	*v = durationValue(d)
	return nil
}

type stringsValue []string

func (v *stringsValue) String() string     { return strings.Join(*v, ",") }
func (v *stringsValue) Set(s string) error { *v = append(*v, s); return nil }

type uint32sValue []uint32

func (v *uint32sValue) String() string { return fmt.Sprint([]uint32(*v)) }
func (v *uint32sValue) Set(s string) error {
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil {
		return errParse
	}
	*v = append(*v, uint32(n))
	return nil
}
