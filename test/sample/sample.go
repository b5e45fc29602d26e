// Package sample says how much of a long suite is played: a seeded part, or all of it
// in a sweep. It belongs to the tests, outside the rows.
package sample

import (
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"
)

// Whole reports whether everything is asked for.
func Whole() bool { return os.Getenv("BERTH_SWEEP") == "1" }

// Rounds is a number of repetitions: a twentieth unless everything is asked for.
func Rounds(n int) int {
	if Whole() {
		return n
	}
	return max(n/20, 1)
}

// Random is seeded by BERTH_SEED, else by the clock; the seed is logged. Each suite
// has a stream of its own.
func Random(t *testing.T, stream uint64) *rand.Rand {
	t.Helper()
	seed, err := strconv.ParseUint(os.Getenv("BERTH_SEED"), 10, 64)
	if err != nil {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("BERTH_SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, stream))
}

// Parallel calls f for 0…n-1, some at a time, and tells the first few errors.
func Parallel(t *testing.T, workers, n int, f func(i int) error) {
	t.Helper()
	const told = 10
	next := make(chan int)
	var wg sync.WaitGroup
	var mu sync.Mutex
	failed := 0
	for range workers {
		wg.Go(func() {
			for i := range next {
				if err := f(i); err != nil {
					mu.Lock()
					if failed++; failed <= told {
						t.Errorf("%d: %v", i, err)
					}
					mu.Unlock()
				}
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	wg.Wait()
	if failed > told {
		t.Errorf("%d of %d failed", failed, n)
	}
}
