// Package sample says how much of a long suite is played: a seeded part, or all of it
// in a sweep. It belongs to the tests, outside the rows.
package sample

import (
	"bufio"
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

// Third leaves a third, in a random order.
func Third[T any](rng *rand.Rand, all []T) []T {
	rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all[:(len(all)+2)/3]
}

// Ledger names the parts of a sweep that were clean, over several runs: a sweep of
// hours need not be sat through at once.
type Ledger struct {
	mu   sync.Mutex
	seen map[string]bool
	file *os.File // nil: nothing is kept
}

// OpenLedger reads the file that BERTH_LEDGER names, a part a line, and writes there
// what comes. Without the variable there was nothing, and nothing is kept.
func OpenLedger(t *testing.T) *Ledger {
	t.Helper()
	l := &Ledger{seen: map[string]bool{}}
	name := os.Getenv("BERTH_LEDGER")
	if name == "" {
		return l
	}
	file, err := os.OpenFile(name, os.O_RDWR|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	l.file = file
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		l.seen[lines.Text()] = true
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return l
}

// Has reports whether a part was clean before.
func (l *Ledger) Has(part string) bool { return l.seen[part] }

// Clean notes that a part was clean now.
func (l *Ledger) Clean(part string) error {
	if l.file == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	_, err := l.file.WriteString(part + "\n")
	return err
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
