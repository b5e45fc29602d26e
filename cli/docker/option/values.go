package option

import (
	"fmt"
	"math/big"
	"strconv"
	"strings"

	"berth/base/units"
)

// value is a flag whose words are checked and taken one by one.
type value struct {
	kind  string // shown in the help
	shown string // the default in the help
	take  func(string) error
}

func (v *value) String() string     { return v.shown }
func (v *value) Type() string       { return v.kind }
func (v *value) Set(s string) error { return v.take(s) }

// listed is a flag that may be repeated; check sees each word first and may be nil.
func listed(p *[]string, check func(string) error) *value {
	return &value{kind: "list", take: func(s string) error {
		if check != nil {
			if err := check(s); err != nil {
				return err
			}
		}
		*p = append(*p, s)
		return nil
	}}
}

// shownEmpty is a list whose help shows its empty default.
func shownEmpty(v *value) *value { v.shown = "[]"; return v }

// sized is a size. With less, -1 is one too: no limit.
func sized(p *int64, less bool) *value {
	return &value{kind: "bytes", take: func(s string) error {
		if less && s == "-1" {
			*p = -1
			return nil
		}
		n, err := units.ParseBytes(s)
		if err != nil {
			return fmt.Errorf("invalid size: '%s'", s)
		}
		*p = n
		return nil
	}}
}

// decimal is a number of processors, kept in billionths.
func decimal(p *int64) *value {
	return &value{kind: "decimal", take: func(s string) error {
		r, ok := new(big.Rat).SetString(s)
		if !ok || len(s) > 40 {
			return fmt.Errorf("failed to parse %.40s as a rational number", s)
		}
		r.Mul(r, big.NewRat(1e9, 1))
		if !r.IsInt() || !r.Num().IsInt64() {
			return fmt.Errorf("value is too precise")
		}
		*p = r.Num().Int64()
		return nil
	}}
}

// number16 is an unsigned number of 16 bits; docker shows its own default.
func number16(p *uint16) *value {
	return &value{kind: "uint16", take: func(s string) error {
		n, err := strconv.ParseUint(s, 0, 16)
		if err != nil {
			return err
		}
		*p = uint16(n)
		return nil
	}}
}

// mapOf makes KEY=VALUE lines a map; a line without = has an empty value, and
// the last of a key holds.
func mapOf(lines []string) map[string]string {
	if len(lines) == 0 {
		return nil
	}
	m := make(map[string]string, len(lines))
	for _, l := range lines {
		k, v, _ := strings.Cut(l, "=")
		m[k] = v
	}
	return m
}

// checkLabel refuses a label without a name.
func checkLabel(s string) error {
	name, _, _ := strings.Cut(s, "=")
	switch {
	case name == "":
		return fmt.Errorf("invalid label '%s': empty name", s)
	case strings.ContainsAny(name, whiteSpace):
		return fmt.Errorf("label '%s' contains whitespaces", name)
	}
	return nil
}
