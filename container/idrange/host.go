package idrange

import (
	"bytes"
	"path/filepath"

	"berth/base/atomicfile"
	"berth/base/fault"
)

// maxFile bounds what is read of /etc; real files have kilobytes.
const maxFile = 16 << 20

// hostIDs finds the ranges in which the host has users, groups or subordinate
// ids. Lines that are not what they should be count for nobody.
func hostIDs(etc string) (map[int]bool, error) {
	used := map[int]bool{}
	for _, f := range []struct {
		name       string
		id, length int // fields, length -1 for single ids
	}{{"passwd", 2, -1}, {"passwd", 3, -1}, {"group", 2, -1}, {"subuid", 1, 2}, {"subgid", 1, 2}} {
		text, err := atomicfile.ReadCapped(filepath.Join(etc, f.name), maxFile)
		if fault.Is(err, fault.NotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		for line := range bytes.Lines(text) {
			mark(used, bytes.Split(bytes.TrimSpace(line), []byte(":")), f.id, f.length)
		}
	}
	return used, nil
}

// mark notes the ranges that a line's ids lie in.
func mark(used map[int]bool, fields [][]byte, id, length int) {
	if len(fields) <= max(id, length) {
		return
	}
	first, ok := number(string(fields[id]))
	if !ok {
		return
	}
	count := uint64(1)
	if length >= 0 {
		if count, ok = number(string(fields[length])); !ok || count == 0 {
			return
		}
	}
	from, to := max(first/Size, firstSlot), min((first+count-1)/Size, endSlot-1)
	for s := from; s <= to; s++ {
		used[int(s)] = true
	}
}
