package cgroup

import "math"

// The spec's numbers are v1's. These are the field's translations to v2 (runc
// 1.4, crun 1.23 and newer agree), so that a container weighs the same
// whichever runtime starts it.

// weightOfShares maps v1 cpu.shares 2..262144 to v2 cpu.weight 1..10000 by the
// quadratic in log2 that meets both ends and 1024 → 100.
func weightOfShares(shares uint64) uint64 {
	switch {
	case shares <= 2:
		return 1
	case shares >= 262144:
		return 10000
	}
	l := math.Log2(float64(shares))
	return uint64(math.Ceil(math.Pow(10, (l*l+125*l)/612-7.0/34)))
}

// weightOfBlkio maps blkio's 10..1000 linearly to io.weight's 1..10000.
func weightOfBlkio(w uint16) uint64 {
	return 1 + (uint64(w)-10)*9999/990
}

// swapOf maps memory+swap to swap alone. ok is false when nothing is to be
// written; bad when the limit that is needed for the difference is missing.
func swapOf(limit, swap int64) (v int64, ok, bad bool) {
	switch {
	case swap == 0 && limit == -1:
		return -1, true, false // unlimited memory takes swap with it, as on v1
	case swap == 0:
		return 0, false, false
	case swap == -1:
		return -1, true, false
	case limit <= 0:
		return 0, false, true
	}
	return swap - limit, true, false
}
