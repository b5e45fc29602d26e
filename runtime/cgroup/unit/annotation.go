package unit

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// AnnotationPrefix is the key under which a bundle sets unit properties, as
// with runc and crun; the value is a GVariant in text form.
const AnnotationPrefix = "org.systemd.property."

// allowed lists what may be set by annotation, with its D-Bus type: order,
// words, the way of stopping, soft limits. Hard limits come from
// linux.resources alone; the slice, the processes and the devices are not the
// bundle's to give.
var allowed = map[string]string{
	"After": "as", "Before": "as", "Wants": "as", "Requires": "as", "BindsTo": "as", "PartOf": "as",
	"CollectMode": "s", "Description": "s", "Documentation": "as",
	"TimeoutStopUSec": "t", "RuntimeMaxUSec": "t", "KillMode": "s", "KillSignal": "i", "FinalKillSignal": "i",
	"SendSIGHUP": "b", "SendSIGKILL": "b", "OOMPolicy": "s",
	"ManagedOOMSwap": "s", "ManagedOOMMemoryPressure": "s", "ManagedOOMMemoryPressureLimit": "u", "ManagedOOMPreference": "s",
	"MemoryHigh": "t", "MemoryLow": "t", "MemoryMin": "t",
	"CPUWeight": "t", "StartupCPUWeight": "t", "IOWeight": "t", "StartupIOWeight": "t",
}

const annotationCap = 4096

// annotated reads the annotations. Keys outside of the list are ignored; a value
// that cannot be read is an error that names the key.
func annotated(m map[string]string) ([]Property, error) {
	var out []Property
	for _, key := range sortedKeys(m) {
		name, ok := strings.CutPrefix(key, AnnotationPrefix)
		if !ok {
			continue
		}
		seconds := false
		if base, ok := strings.CutSuffix(name, "Sec"); ok && !strings.HasSuffix(name, "USec") {
			name, seconds = base+"USec", true
		}
		if allowed[name] == "" {
			continue
		}
		v, err := annotation(allowed[name], m[key], seconds)
		if err != nil {
			return nil, fmt.Errorf("annotations[%q]: %w", key, err)
		}
		out = append(out, Property{name, v})
	}
	return out, nil
}

// annotation reads one value as the wanted type; seconds is the Sec form of a
// USec property.
func annotation(want, value string, seconds bool) (any, error) {
	if len(value) > annotationCap {
		return nil, fmt.Errorf("more than %d bytes", annotationCap)
	}
	for i := range len(value) {
		if value[i] < 0x20 || value[i] == 0x7f {
			return nil, fmt.Errorf("control character %#02x", value[i])
		}
	}
	value = strings.TrimSpace(value)
	var v any
	var err error
	switch want {
	case "b":
		v, err = strconv.ParseBool(value)
		if value != "true" && value != "false" {
			err = errors.New("neither true nor false")
		}
	case "s":
		rest := ""
		if v, rest, err = quoted(value); err == nil && rest != "" {
			err = errors.New("more than one text")
		}
	case "as":
		v, err = texts(value)
	default:
		v, err = numeric(want, value, seconds)
	}
	if err != nil {
		return nil, fmt.Errorf("%.80q: %w", value, err)
	}
	return v, nil
}

// quoted reads 'text' or "text"; a backslash takes the next character as it is.
func quoted(s string) (text, rest string, err error) {
	if s == "" || (s[0] != '\'' && s[0] != '"') {
		return "", "", errors.New("not a text in quotes")
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == s[0]:
			return b.String(), strings.TrimSpace(s[i+1:]), nil
		case s[i] == '\\' && i+1 < len(s):
			i++
		}
		b.WriteByte(s[i])
	}
	return "", "", errors.New("the quote does not end")
}

// texts reads ['a', 'b'], perhaps with the type @as before it.
func texts(s string) ([]string, error) {
	s = strings.TrimSpace(strings.TrimPrefix(s, "@as "))
	s, ok := strings.CutPrefix(s, "[")
	if !ok {
		return nil, errors.New("not a list in brackets")
	}
	out := []string{}
	for s = strings.TrimSpace(s); ; {
		if s == "]" {
			return out, nil
		}
		text, rest, err := quoted(s)
		if err != nil {
			return nil, err
		}
		out = append(out, text)
		if s = strings.TrimSpace(strings.TrimPrefix(rest, ",")); s == rest && s != "]" {
			return nil, errors.New("not a list of texts")
		}
	}
}

// numeric reads a number, perhaps with its type before it: the type that systemd
// wants is known better here.
func numeric(want, s string, seconds bool) (any, error) {
	for _, word := range []string{"byte", "int16", "uint16", "int32", "uint32", "int64", "uint64", "double"} {
		s = strings.TrimPrefix(s, word+" ")
	}
	s = strings.TrimSpace(s)
	if seconds {
		n, err := strconv.ParseFloat(s, 64)
		if err != nil || math.IsNaN(n) || n < 0 || n > 1e12 {
			return nil, errors.New("not a number of seconds")
		}
		return uint64(n * 1e6), nil
	}
	bits := map[string]int{"i": 31, "u": 32, "t": 64}[want]
	n, err := strconv.ParseUint(s, 10, bits)
	if err != nil {
		return nil, errors.New("not a number, or too large")
	}
	switch want {
	case "i":
		return int32(n), nil
	case "u":
		return uint32(n), nil
	}
	return n, nil
}
