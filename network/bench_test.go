package network

import (
	"os"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"berth/base/ids"
	"berth/test/netns"
)

// processor is the time that this process has had of processors.
func processor() time.Duration {
	var u unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkAttach prints what a container costs at its start and end, with one
// published port and without: the least and the middle time, and that of
// processors.
func BenchmarkAttach(b *testing.B) {
	netns.Need(b)
	b.Run("plain", func(b *testing.B) { benchmark(b, nil) })
	b.Run("publish", func(b *testing.B) { benchmark(b, []Port{{Protocol: "tcp", Container: 80, Count: 1}}) })
}

func benchmark(b *testing.B, ports []Port) {
	run, err := os.MkdirTemp("/dev/shm", "berth-network") // tmpfs, as /run is
	if err != nil {
		b.Fatal(err)
	}
	defer os.RemoveAll(run)
	s, err := Open(Options{Root: b.TempDir(), Run: run})
	if err != nil {
		b.Fatal(err)
	}
	defer s.TearDown(ctx)
	names := []string{"prepare", "connect", "release"}
	wall, cpu := map[string][]time.Duration{}, map[string]time.Duration{}
	measure := func(name string, f func() error) {
		from, used := time.Now(), processor()
		if err := f(); err != nil {
			b.Fatal(name, err)
		}
		wall[name] = append(wall[name], time.Since(from))
		cpu[name] += processor() - used
	}
	for b.Loop() {
		ns := netns.New(b)
		r := Request{Container: ids.New(), Endpoints: []Endpoint{{Network: Default}}, Publish: ports}
		var a *Attachment
		measure("prepare", func() (err error) { a, err = s.Prepare(ctx, r); return err })
		measure("connect", func() error { return s.Connect(ctx, a, ns.File) })
		for _, f := range a.Hold {
			f.Close()
		}
		measure("release", func() error { return s.Release(ctx, r.Container) })
		ns.Close()
	}
	for _, name := range names {
		slices.Sort(wall[name])
		n := len(wall[name])
		b.ReportMetric(float64(wall[name][0].Microseconds()), name+"-min-µs")
		b.ReportMetric(float64(wall[name][n/2].Microseconds()), name+"-mid-µs")
		b.ReportMetric(float64(cpu[name].Microseconds())/float64(n), name+"-cpu-µs")
	}
}
