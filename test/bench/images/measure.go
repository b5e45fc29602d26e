package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// engine is one of the three, with what it takes to pull and to forget.
type engine struct {
	name string
	pull func(image string) error
	rmi  func(image string) error
}

func (s *stage) engines() []engine {
	return []engine{
		{"berth", func(i string) error { return s.run(s.berth, s.berthArgs("pull", "-q", i)...) }, func(i string) error { return s.run(s.berth, s.berthArgs("rmi", i)...) }},
		{"docker", func(i string) error { return s.run("docker", s.dockerArgs("pull", "-q", i)...) }, func(i string) error { return s.run("docker", s.dockerArgs("rmi", i)...) }},
		{"podman", func(i string) error { return s.run("podman", s.podmanArgs("pull", "-q", "--tls-verify=false", i)...) }, func(i string) error { return s.run("podman", s.podmanArgs("rmi", i)...) }},
	}
}

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
		image := s.registry + "/big:" + form.name
		if err := s.publish(dir, image, t); err != nil {
			return err
		}
		if err := s.pullForm(t, o, form.name, image, form.docker); err != nil {
			return err
		}
		bare, err := bareDecompression(dir, form.compression)
		if err != nil {
			return err
		}
		last := t.rows[len(t.rows)-1]
		ours, _ := time.ParseDuration(last.ours)
		t.times("  the same, against bare decompression", []time.Duration{ours}, []time.Duration{bare}, 0)
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
	}
	t.limit("peak memory of all commands", float64(s.peak)/1024, 128, "MB")
	return nil
}

// publish loads a layout into a store, tags and pushes it, twice: the second
// push sends nothing, and the time tells.
func (s *stage) publish(dir, image string, t *table) error {
	id, err := s.output(s.berth, s.berthArgs("load", "-q", "-i", dir)...)
	if err != nil {
		return err
	}
	var name string
	if _, err := fmt.Sscanf(id, "Loaded image ID: %s", &name); err != nil {
		return fmt.Errorf("load says %q", id)
	}
	if err := s.run(s.berth, s.berthArgs("tag", name, image)...); err != nil {
		return err
	}
	var times [2]time.Duration
	for i := range times {
		if times[i], err = s.timed(func() error { return s.run(s.berth, s.berthArgs("push", "-q", image)...) }); err != nil {
			return err
		}
	}
	t.times("second push, against the first", times[1:], times[:1], 0.1)
	return s.run(s.berth, s.berthArgs("rmi", "-f", image)...)
}

func (s *stage) pullForm(t *table, o options, name, image string, docker bool) error {
	times := map[string][]time.Duration{}
	var rmi, unlink []time.Duration
	for range o.rounds {
		for _, e := range s.engines() {
			if e.name == "docker" && !docker {
				continue
			}
			d, err := s.timed(func() error { return e.pull(image) })
			if err != nil {
				return err
			}
			times[e.name] = append(times[e.name], d)
			if e.name == "berth" {
				if d, err = s.unlinkCopy(); err != nil {
					return err
				}
				unlink = append(unlink, d)
			}
			d, err = s.timed(func() error { return e.rmi(image) })
			if err != nil {
				return err
			}
			if e.name == "berth" {
				rmi = append(rmi, d)
			}
		}
	}
	better := times["podman"]
	if d := times["docker"]; d != nil && median(d) < median(better) {
		better = d
	}
	if name == "one" {
		t.times("rmi of it, against unlinking the same tree", rmi, unlink, 1.2)
	}
	t.times("pull "+name+", against the better of docker and podman", times["berth"], better, 0.5)
	return nil
}

// unlinkCopy times the removal of a copy of the layers by one bare walk.
func (s *stage) unlinkCopy() (time.Duration, error) {
	copyTo := filepath.Join(s.dir, "copy")
	if err := s.run("cp", "-a", filepath.Join(s.dir, "berth/snapshots/d"), copyTo); err != nil {
		return 0, err
	}
	return s.timed(func() error { return exec.Command("rm", "-rf", copyTo).Run() })
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

// tinies measures many small images against podman.
func (s *stage) tinies(t *table, o options) error {
	file := filepath.Join(s.dir, "tiny.tar")
	if err := tinyArchive(file, o.tiny); err != nil {
		return err
	}
	var load, list, rmi [2]time.Duration
	for i, who := range []struct {
		program string
		args    func(...string) []string
	}{{s.berth, s.berthArgs}, {"podman", s.podmanArgs}} {
		steps := []struct {
			to   *time.Duration
			args []string
		}{{&load[i], []string{"load", "-q", "-i", file}}, {&list[i], []string{"images"}}, {&rmi[i], append([]string{"rmi"}, tinyNames(o.tiny)...)}}
		for _, step := range steps {
			d, err := s.timed(func() error { return s.run(who.program, who.args(step.args...)...) })
			if err != nil {
				return err
			}
			*step.to = d
		}
	}
	one := func(d time.Duration) []time.Duration { return []time.Duration{d} }
	n := fmt.Sprint(o.tiny)
	t.times("load of "+n+" tiny images in one call, against podman", one(load[0]), one(load[1]), 0.05)
	t.times("images with "+n+", against podman", one(list[0]), one(list[1]), 0.05)
	t.limit("images with "+n, float64(list[0])/1e6, 20, "ms")
	t.times("rmi of all "+n+", against podman", one(rmi[0]), one(rmi[1]), 0.05)
	return nil
}

func tinyNames(n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf("tiny:%d", i)
	}
	return out
}
