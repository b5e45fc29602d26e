package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// pulls measures pull of the big image in its forms, its rmi, and pushes.
func (s *stage) pulls(t *table, o options) error {
	files, err := pick(o.files, o.mb)
	if err != nil {
		return err
	}
	for _, form := range []struct {
		name, compression string
		layers            int
		docker            bool // docker 20.10 reads no zstd
	}{{"one", "gzip", 1, true}, {"six", "gzip", 6, true}, {"one-zstd", "zstd", 1, false}, {"six-zstd", "zstd", 6, false}} {
		dir := filepath.Join(s.dir, "layout-"+form.name)
		if err := layout(dir, form.compression, form.layers, files); err != nil {
			return err
		}
		image := "/big:" + form.name
		if err := s.publish(dir, image, t); err != nil {
			return err
		}
		ours, err := s.pullForm(t, o, form.name, s.registry+image, form.docker)
		if err != nil {
			return err
		}
		bare, err := bareDecompression(dir, form.compression)
		if err != nil {
			return err
		}
		t.times("  the same, against bare decompression", ours, []time.Duration{bare}, 0)
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
	}
	t.limit("peak memory of all commands", float64(s.peak)/1024, 128, "MB")
	return nil
}

// publish loads a layout into a store, tags and pushes it, twice: the second
// push sends no layer, and the bytes that reach the registry tell. How long it
// takes depends on the registry, of which it asks whether all is still there.
func (s *stage) publish(dir, image string, t *table) error {
	if err := s.berth.renew(); err != nil {
		return err
	}
	id, err := s.output(s.program, s.berth.args("load", "-q", "-i", dir)...)
	if err != nil {
		return err
	}
	var name string
	if _, err := fmt.Sscanf(id, "Loaded image ID: %s", &name); err != nil {
		return fmt.Errorf("load says %q", id)
	}
	way, err := newRelay(s.registry)
	if err != nil {
		return err
	}
	defer way.Close()
	image = way.Addr().String() + image
	if err := s.berth.run("tag", name, image); err != nil {
		return err
	}
	var times [2]time.Duration
	var sent [2]int64
	for i := range times {
		before := way.sent.Load()
		if times[i], err = s.berth.timed(func() error { return s.berth.run("push", "-q", image) }); err != nil {
			return err
		}
		sent[i] = way.sent.Load() - before
	}
	t.times("second push, against the first", times[1:], times[:1], 0)
	t.limit("  bytes that it sends", float64(sent[1])/1024, 16, "KiB")
	if sent[0] < 100*sent[1] {
		return fmt.Errorf("the first push sent %d bytes, the second %d", sent[0], sent[1])
	}
	return nil
}

// pullForm pulls an image with each engine in turn, each time into an empty
// store on a new disk. The order changes from round to round.
func (s *stage) pullForm(t *table, o options, name, image string, docker bool) ([]time.Duration, error) {
	times := map[*engine][]time.Duration{}
	var rmi, unlink []time.Duration
	engines := []*engine{s.berth, s.podman}
	if docker {
		engines = append(engines, s.docker)
	}
	for round := range o.rounds {
		for i := range engines {
			e := engines[(i+round)%len(engines)]
			d, err := s.pullOnce(e, image)
			if err != nil {
				return nil, err
			}
			times[e] = append(times[e], d)
			if e != s.berth || name != "one" {
				continue
			}
			r, u, err := s.removal(image, round%2 == 1)
			if err != nil {
				return nil, err
			}
			rmi, unlink = append(rmi, r), append(unlink, u)
		}
	}
	better := times[s.podman]
	if d := times[s.docker]; d != nil && median(d) < median(better) {
		better = d
	}
	if name == "one" {
		t.times("rmi of it, against unlinking the same tree", rmi, unlink, 1.2)
	}
	t.times("pull "+name+", against the better of docker and podman", times[s.berth], better, 0.5)
	return times[s.berth], nil
}

// pullOnce is the time of one pull. The other engines' disks are as empty as
// they were.
func (s *stage) pullOnce(e *engine, image string) (time.Duration, error) {
	if err := e.renew(); err != nil {
		return 0, err
	}
	return e.timed(func() error { return e.run(append(slices.Clone(e.pull), image)...) })
}

// removal times rmi of the image that berth has, and the removal of a copy of
// its layers by one bare walk, the one or the other first.
func (s *stage) removal(image string, rmiFirst bool) (rmi, unlink time.Duration, err error) {
	copyTo := filepath.Join(s.berth.disk.root, "copy")
	if _, err := s.output("cp", "-a", filepath.Join(s.berth.disk.root, "store/snapshots/d"), copyTo); err != nil {
		return 0, 0, err
	}
	steps := []func() error{
		func() (err error) {
			unlink, err = s.berth.timed(func() error { _, err := s.output("rm", "-rf", copyTo); return err })
			return err
		},
		func() (err error) {
			rmi, err = s.berth.timed(func() error { return s.berth.run("rmi", image) })
			return err
		},
	}
	if rmiFirst {
		slices.Reverse(steps)
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return 0, 0, err
		}
	}
	return rmi, unlink, nil
}

// bareDecompression is the time that the layers' bytes take to be decompressed,
// one after the other, with nothing done to them.
func bareDecompression(dir, compression string) (time.Duration, error) {
	blobs, err := filepath.Glob(filepath.Join(dir, "blobs/sha256/*"))
	if err != nil {
		return 0, err
	}
	start := time.Now()
	for _, b := range blobs {
		if st, err := os.Stat(b); err != nil || st.Size() < 64<<10 {
			continue
		}
		if err := decompress(b, compression); err != nil {
			return 0, err
		}
	}
	return time.Since(start), nil
}

func decompress(file, compression string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	var r io.Reader
	if compression == "zstd" {
		z, err := zstd.NewReader(f)
		if err != nil {
			return err
		}
		defer z.Close()
		r = z
	} else if r, err = gzip.NewReader(f); err != nil {
		return err
	}
	return discard(r)
}

// tinies measures many small images against podman, whose one round takes minutes.
func (s *stage) tinies(t *table, o options) error {
	file := filepath.Join(s.dir, "tiny.tar")
	if err := tinyArchive(file, o.tiny); err != nil {
		return err
	}
	var load, list, rmi [2][]time.Duration
	for i, e := range []*engine{s.berth, s.podman} {
		rounds := o.rounds
		if e == s.podman {
			rounds = 1
		}
		for range rounds {
			if err := e.renew(); err != nil {
				return err
			}
			for _, step := range []struct {
				to   *[]time.Duration
				args []string
			}{{&load[i], []string{"load", "-q", "-i", file}}, {&list[i], []string{"images"}}, {&rmi[i], append([]string{"rmi"}, tinyNames(o.tiny)...)}} {
				d, err := e.timed(func() error { return e.run(step.args...) })
				if err != nil {
					return err
				}
				*step.to = append(*step.to, d)
			}
		}
	}
	n := fmt.Sprint(o.tiny)
	t.times("load of "+n+" tiny images in one call, against podman", load[0], load[1], 0.05)
	t.times("images with "+n+", against podman", list[0], list[1], 0.05)
	t.limit("images with "+n, float64(median(list[0]))/1e6, 20, "ms")
	t.times("rmi of all "+n+", against podman", rmi[0], rmi[1], 0.05)
	return nil
}

func tinyNames(n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf("tiny:%d", i)
	}
	return out
}
