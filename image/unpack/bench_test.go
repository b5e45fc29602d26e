package unpack

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"hash"
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

// cpuSeconds is what this process and a worker have used of all processors: it says more than the
// clock where others work too.
func cpuSeconds(b *testing.B, w *Worker) float64 {
	var self, gone unix.Rusage
	must(b, unix.Getrusage(unix.RUSAGE_SELF, &self))
	must(b, unix.Getrusage(unix.RUSAGE_CHILDREN, &gone))
	total := float64(self.Utime.Nano()+self.Stime.Nano()+gone.Utime.Nano()+gone.Stime.Nano()) / 1e9
	for _, pid := range w.pids() {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		must(b, err)
		f := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
		user, _ := strconv.Atoi(f[11])
		system, _ := strconv.Atoi(f[12])
		total += float64(user+system) / 100 // USER_HZ
	}
	return total
}

// BenchmarkStream decompresses and hashes the same stream in this process and
// writes nothing: what is left for making files is the difference.
func BenchmarkStream(b *testing.B) {
	path := os.Getenv("BERTH_UNPACK_BENCH")
	if path == "" {
		b.Skip("needs hardware: a big layer, named by BERTH_UNPACK_BENCH")
	}
	limits := Limits{}.withDefaults()
	for b.Loop() {
		f, err := os.Open(path)
		must(b, err)
		kind, err := kindOf(bufio.NewReader(f), Auto)
		must(b, err)
		_, err = f.Seek(0, io.SeekStart)
		must(b, err)
		sum := sha256.New()
		must(b, expand(f, &hashed{sum: sum}, kind, &limits))
		f.Close()
	}
}

// hashed takes chunks and hashes them.
type hashed struct {
	sum hash.Hash
	buf [chunkSize]byte
}

func (h *hashed) empty() ([]byte, error) { return h.buf[:], nil }

func (h *hashed) send(n int) error {
	h.sum.Write(h.buf[:n])
	return nil
}

// BenchmarkTiny is the price of a process for each layer: layers of one file.
func BenchmarkTiny(b *testing.B) {
	stream := makeTar(b, file("f", "x"))
	for name, size := range map[string]int64{"shared": int64(len(stream)), "apart": 0} {
		b.Run(name, func(b *testing.B) {
			w := startWorker(b, usual())
			before := cpuSeconds(b, w)
			for b.Loop() {
				if _, err := w.Layer(context.Background(), Job{Dir: layerDir(b), Source: bytes.NewReader(stream), Size: size, Parents: noParents}); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric((cpuSeconds(b, w)-before)*1000/float64(b.N), "cpu-ms/op")
		})
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
