package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// many makes containers, of which some run, and measures what looks through
// them.
func (s *stage) many(t *table, o options) error {
	defer func() { _, _ = s.own.Empty() }()
	if err := s.populate(o); err != nil {
		return err
	}
	last := fmt.Sprintf("many%d", o.many-1)
	id, err := s.berth.output("inspect", "-f", "{{.Id}}", last)
	if err != nil {
		return err
	}
	size := fmt.Sprintf(" with %d, %d running", o.many, o.running)
	for _, one := range []struct {
		name  string
		words []string
		limit float64
	}{
		{"ps -a", []string{"ps", "-a"}, 30},
		{"ps", []string{"ps"}, 30},
		{"name look-up (port NAME)", []string{"port", last}, 30},
		{"look-up by a short id (port ID)", []string{"port", id[:12]}, 30},
	} {
		times, err := rounds(max(o.rounds, 10), s.berth.doing(one.words...))
		if err != nil {
			return err
		}
		t.most(one.name+size, float64(median(times[0]))/1e6, one.limit, "ms")
	}
	r, err := s.traced("inspect", last)
	if err != nil {
		return err
	}
	t.most("records that inspect NAME opens"+size, float64(r.Opens["record.json"]), 1, "")
	return nil
}

func (s *stage) populate(o options) error {
	next := make(chan int)
	var wait sync.WaitGroup
	var lock sync.Mutex
	var failed error
	for range 4 {
		wait.Go(func() {
			for i := range next {
				words := []string{"create", "--name", fmt.Sprintf("many%d", i), "--network", "none", "--label", "number=" + strconv.Itoa(i), image, "true"}
				if i < o.running {
					words = append([]string{"run", "-d"}, words[1:len(words)-1]...)
					words = append(words, "sleep", "100000")
				}
				if err := s.berth.run(words...); err != nil {
					lock.Lock()
					failed = err
					lock.Unlock()
				}
			}
		})
	}
	for i := range o.many {
		next <- i
	}
	close(next)
	wait.Wait()
	return failed
}

// logs compares how fast a container may write, with the default log driver.
func (s *stage) logs(t *table, o options) error {
	// A million lines of 59 bytes.
	script := "i=0; /busybox yes 'a line of a log as programs write it, with a number 123456' | /busybox head -n 1000000"
	var all []func() (time.Duration, error)
	for _, e := range []*engine{s.berth, s.docker} {
		all = append(all, func() (time.Duration, error) {
			// From the start to the end of the container, when all is in the log.
			begin := time.Now()
			err := e.run("run", "-d", "--name", "logs", "--network", "none", "-v", "/bin/busybox:/busybox:ro", image, "/busybox", "sh", "-c", script)
			if err == nil {
				err = e.run("wait", "logs")
			}
			took := time.Since(begin)
			if err == nil {
				err = e.run("rm", "-f", "logs")
			}
			return took, err
		})
	}
	times, err := rounds(max(3, o.rounds/10), all...)
	if err != nil {
		return err
	}
	t.faster("log of 1,000,000 lines (59 MB), against docker's json-file", times[0], times[1], 2)
	return nil
}

// memory is the monitor's: idle, and after work. Another one stands beside it, so
// that what all have of the program counts as shared.
func (s *stage) memory(t *table, o options) error {
	if err := s.berth.run("run", "-d", "--name", "beside", "--network", "none", image, "sleep", "100000"); err != nil {
		return err
	}
	defer func() { _ = s.berth.run("rm", "-f", "beside") }()
	id, err := s.berth.output("run", "-d", "--name", "memory", "--network", "none", "-v", "/bin/busybox:/busybox:ro", image, "/busybox", "sh", "-c",
		"/busybox sleep 2; /busybox yes 'a line of a log as programs write it, with a number 123456' | /busybox head -c 10000000; echo done; /busybox sleep 100000")
	if err != nil {
		return err
	}
	defer func() { _ = s.berth.run("rm", "-f", "memory") }()
	private, resident, err := s.monitorMemory(id)
	if err != nil {
		return err
	}
	t.most("monitor, idle: private", private, 1, "MB")
	t.most("monitor, idle: resident", resident, 3, "MB")
	for {
		out, err := s.berth.output("logs", "--tail", "1", "memory")
		if err != nil {
			return err
		}
		if strings.HasSuffix(out, "done") {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	attach := s.berth.command("attach", "--no-stdin", "--sig-proxy=false", "memory")
	if err := attach.Start(); err != nil {
		return err
	}
	if err := s.berth.run("exec", "memory", "/busybox", "sleep", "0.3"); err != nil {
		return err
	}
	_ = attach.Process.Kill()
	_ = attach.Wait() // the signal ended it
	if private, resident, err = s.monitorMemory(id); err != nil {
		return err
	}
	t.most("monitor, after 10 MB of logs, an attach and an exec: private", private, 2, "MB")
	t.rows = append(t.rows, row{name: "the same: resident", ours: fmt.Sprintf("%.1f MB", resident), value: resident, shown: true})
	return nil
}

// monitorMemory reads smaps_rollup of a container's monitor, in MB.
func (s *stage) monitorMemory(id string) (private, resident float64, err error) {
	out, err := s.berth.output("inspect", "-f", "{{.State.Pid}}", id)
	if err != nil {
		return 0, 0, err
	}
	parent, err := field("/proc/"+out+"/status", "PPid:")
	if err != nil {
		return 0, 0, err
	}
	file := fmt.Sprintf("/proc/%.0f/smaps_rollup", parent)
	for name, into := range map[string]*float64{"Private_Clean:": &private, "Private_Dirty:": &private, "Rss:": &resident} {
		kb, err := field(file, name)
		if err != nil {
			return 0, 0, err
		}
		*into += kb / 1024
	}
	return private, resident, nil
}

func field(file, name string) (float64, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(data)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == name {
			return strconv.ParseFloat(f[1], 64)
		}
	}
	return 0, fmt.Errorf("%s has no %s", file, name)
}
