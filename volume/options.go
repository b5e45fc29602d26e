package volume

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"berth/base/fault"
	"berth/base/units"
	"berth/sys/mount"
)

// needs lists the options of the local driver, and what each one takes beside it.
var needs = map[string][]string{"device": {"type"}, "type": {"device"}, "o": {"device", "type"}, "size": nil}

// checkOptions refuses options, in Docker's words.
func checkOptions(o map[string]string) error {
	for _, key := range slices.Sorted(maps.Keys(o)) {
		more, ok := needs[key]
		if !ok {
			return fault.New(fault.Invalid, "invalid option: %q", key)
		}
		for _, want := range more {
			if o[want] == "" {
				return fault.New(fault.Invalid, "missing required option: %q", want)
			}
		}
		if strings.ContainsAny(o[key], "\x00\r\n") {
			return fault.New(fault.Invalid, "option %q has a line break or NUL byte", key)
		}
	}
	if _, err := sizeOf(o); err != nil {
		return err
	}
	if isBind(o) && !filepath.IsAbs(o["device"]) {
		return fault.New(fault.Invalid, "device %.300q of a bind is no absolute path", o["device"])
	}
	_, err := parse(o)
	return err
}

// sizeOf is how many bytes a volume may hold, 0 for any.
func sizeOf(o map[string]string) (int64, error) {
	if _, ok := o["size"]; !ok {
		return 0, nil
	}
	n, err := units.ParseBytes(o["size"])
	if err != nil {
		return 0, fault.New(fault.Invalid, "invalid size: '%.300s'", o["size"])
	}
	return n, nil
}

// isBind reports whether the options name a folder of the host.
func isBind(o map[string]string) bool {
	words := strings.Split(o["o"], ",")
	return slices.Contains(words, "bind") || slices.Contains(words, "rbind")
}

// plain reports whether a volume is just its folder.
func plain(o map[string]string) bool { return o["device"] == "" }

// parse reads o= as mount(8) does.
func parse(o map[string]string) (*mount.Options, error) {
	var words []string
	if o["o"] != "" {
		words = strings.Split(o["o"], ",")
	}
	opts, err := mount.Parse(words)
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, fmt.Errorf("option o: %w", err))
	}
	return opts, nil
}
