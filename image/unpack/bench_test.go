package unpack

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// BenchmarkLayer unpacks the stream in the file BERTH_UNPACK_BENCH, a tar of any
// compression, to a folder below TMPDIR. Nothing is removed meanwhile: for a
// minute ext4 looks at each inode that was deleted before it makes a new one
// (recently_deleted in fs/ext4/ialloc.c), which made creates ten times slower.
func BenchmarkLayer(b *testing.B) {
	path := os.Getenv("BERTH_UNPACK_BENCH")
	if path == "" {
		b.Skip("needs hardware: a big layer, named by BERTH_UNPACK_BENCH")
	}
	w := startWorker(b, usual())
	for b.Loop() {
		b.StopTimer()
		d := layerDir(b)
		f, err := os.Open(path)
		if err != nil {
			b.Fatal(err)
		}
		unix.Sync()
		b.StartTimer()
		res, err := w.Layer(context.Background(), Job{Dir: d, Source: f, Parents: noParents})
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		b.SetBytes(res.Uncompressed)
		f.Close()
		b.StartTimer()
	}
	b.ReportMetric(float64(peak(b, w))/1024, "MiB-peak")
	b.ReportMetric(cpuSeconds(b, w)/float64(b.N), "cpu-s/op")
}

// cpuSeconds is what a worker has used of all processors: it says more than the
// clock where others work too.
func cpuSeconds(b *testing.B, w *Worker) float64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", w.PID()))
	must(b, err)
	f := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	user, _ := strconv.Atoi(f[11])
	system, _ := strconv.Atoi(f[12])
	return float64(user+system) / 100 // USER_HZ
}

// BenchmarkStream decompresses and hashes the same stream in this process and
// writes nothing: what is left for making files is the difference.
func BenchmarkStream(b *testing.B) {
	path := os.Getenv("BERTH_UNPACK_BENCH")
	if path == "" {
		b.Skip("needs hardware: a big layer, named by BERTH_UNPACK_BENCH")
	}
	for b.Loop() {
		f, err := os.Open(path)
		if err != nil {
			b.Fatal(err)
		}
		s := startStream(f, Auto, Limits{}.withDefaults(), func() error { return nil })
		if _, err := s.rest(); err != nil && err != io.EOF {
			b.Fatal(err)
		}
		b.SetBytes(s.total)
		f.Close()
	}
}

// BenchmarkStart is the price of a worker.
func BenchmarkStart(b *testing.B) {
	for b.Loop() {
		w, err := Start(context.Background(), Options{})
		if err != nil {
			b.Fatal(err)
		}
		w.Close()
	}
}
