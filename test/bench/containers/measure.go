package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"
)

// calm waits until the machine has nothing to do: dockerd goes on with what a command
// left when that has ended, and whoever comes next would pay for it. Two seconds are
// the most.
func calm() error {
	busy := func() (used, all uint64, err error) {
		text, err := os.ReadFile("/proc/stat")
		if err != nil {
			return 0, 0, err
		}
		var n [8]uint64
		if _, err := fmt.Sscanf(string(text), "cpu %d %d %d %d %d %d %d %d", &n[0], &n[1], &n[2], &n[3], &n[4], &n[5], &n[6], &n[7]); err != nil {
			return 0, 0, fmt.Errorf("read /proc/stat: %w", err)
		}
		for _, v := range n {
			all += v
		}
		return all - n[3] - n[4], all, nil // idle and iowait, proc_stat(5)
	}
	for range 20 {
		used, all, err := busy()
		if err != nil {
			return err
		}
		time.Sleep(100 * time.Millisecond)
		usedThen, allThen, err := busy()
		if err != nil || (usedThen-used)*20 <= allThen-all {
			return err
		}
	}
	return nil
}

// rounds measures things in turn, on a calm machine; who is first changes from round
// to round. Two rounds warm up.
func rounds(n int, all ...func() (time.Duration, error)) ([][]time.Duration, error) {
	out := make([][]time.Duration, len(all))
	for round := range n + 2 {
		for i := range all {
			k := (i + round) % len(all)
			if err := calm(); err != nil {
				return nil, err
			}
			d, err := all[k]()
			if err != nil {
				return nil, err
			}
			if round >= 2 {
				out[k] = append(out[k], d)
			}
		}
	}
	return out, nil
}

func (e *engine) doing(words ...string) func() (time.Duration, error) {
	return func() (time.Duration, error) {
		d, _, err := e.timed(words...)
		return d, err
	}
}

// runs compares `run --rm IMAGE true` with both networks, and with the floor.
func (s *stage) runs(t *table, o options) error {
	floor, err := s.makeFloor()
	if err != nil {
		return err
	}
	for _, network := range []string{"none", "bridge"} {
		words := []string{"run", "--rm", "--network", network, image, "true"}
		theirs := map[*engine][]string{s.podman: words, s.docker: words}
		if network == "bridge" { // what each does by default
			theirs[s.podman] = []string{"run", "--rm", image, "true"}
		}
		all, err := rounds(o.rounds, s.berth.doing(words...), s.docker.doing(theirs[s.docker]...), s.podman.doing(theirs[s.podman]...), floor)
		if err != nil {
			return err
		}
		name := "run --rm true, network " + network
		t.faster(name+", against docker", all[0], all[1], 15)
		t.faster(name+", against podman", all[0], all[2], 10)
		t.beside(name+", against the floor", all[0], all[3], 2, 3)
	}
	return nil
}

// makeFloor gives the minimal program on an overlay above the same image.
func (s *stage) makeFloor() (func() (time.Duration, error), error) {
	if err := s.berth.run("create", "--name", "floor", image, "true"); err != nil {
		return nil, err
	}
	text, err := s.berth.output("inspect", "-f", "{{json .GraphDriver.Data}}", "floor")
	if err != nil {
		return nil, err
	}
	var tree struct{ LowerDir string }
	if err := json.Unmarshal([]byte(text), &tree); err != nil {
		return nil, err
	}
	dir := filepath.Join(s.dir, "floors")
	for _, d := range []string{"upper", "work", "merged"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			return nil, err
		}
	}
	options := fmt.Sprintf("lowerdir=%s,upperdir=%s/upper,workdir=%s/work", tree.LowerDir, dir, dir)
	return func() (time.Duration, error) {
		cmd := exec.Command(s.floor, options, dir+"/merged", "/bin/true")
		begin := time.Now()
		out, err := cmd.CombinedOutput()
		if err != nil {
			return 0, fmt.Errorf("the floor: %w: %s", err, out)
		}
		return time.Since(begin), nil
	}, nil
}

// report is the tracer's.
type report struct {
	Exit      int
	By, Opens map[string]int
}

// traced counts the system calls of a command of berth and all its processes.
func (s *stage) traced(words ...string) (*report, error) {
	file := filepath.Join(s.dir, "report")
	cmd := s.berth.command(words...)
	by := exec.Command(s.tracer, append([]string{file, "count", "0"}, cmd.Args...)...)
	by.Env, by.Dir = cmd.Env, cmd.Dir
	out, err := by.CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("trace %v: %w: %s", words, err, out)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var r report
	if err := json.Unmarshal(data, &r); err != nil {
		return nil, err
	}
	if r.Exit != 0 {
		return nil, fmt.Errorf("trace %v: exit %d: %s", words, r.Exit, out)
	}
	return &r, nil
}

// syncs counts what waits for the disk in a run.
func (s *stage) syncs(t *table, o options) error {
	for _, network := range []string{"none", "bridge"} {
		r, err := s.traced("run", "--rm", "--network", network, image, "true")
		if err != nil {
			return err
		}
		n := 0
		for _, name := range []string{"fsync", "fdatasync", "syncfs", "sync", "sync_file_range"} {
			n += r.By[name]
		}
		t.most("fsyncs in run --rm true, network "+network, float64(n), 0, "")
	}
	return nil
}

// execs compares exec of true in a running container.
func (s *stage) execs(t *table, o options) error {
	engines := []*engine{s.berth, s.docker, s.podman}
	var all []func() (time.Duration, error)
	for _, e := range engines {
		if err := e.run("run", "-d", "--name", "execs", "--network", "none", image, "sleep", "100000"); err != nil {
			return err
		}
		defer func() { _ = e.run("rm", "-f", "execs") }()
		all = append(all, e.doing("exec", "execs", "true"))
	}
	times, err := rounds(o.rounds, all...)
	if err != nil {
		return err
	}
	t.most("exec of true", float64(median(times[0]))/1e6, 8, "ms")
	t.faster("exec of true, against docker", times[0], times[1], 0)
	t.faster("exec of true, against podman", times[0], times[2], 0)
	return nil
}

// starts compares start of a container that exists and ends at once.
func (s *stage) starts(t *table, o options) error {
	var all []func() (time.Duration, error)
	for _, e := range []*engine{s.berth, s.docker, s.podman} {
		if err := e.run("create", "--name", "starts", "--network", "none", image, "true"); err != nil {
			return err
		}
		defer func() { _ = e.run("rm", "-f", "starts") }()
		all = append(all, func() (time.Duration, error) {
			d, _, err := e.timed("start", "starts")
			if err == nil {
				err = e.run("wait", "starts")
			}
			return d, err
		})
	}
	times, err := rounds(o.rounds, all...)
	if err != nil {
		return err
	}
	t.faster("start of an existing one, against docker", times[0], times[1], 0)
	t.faster("start of an existing one, against podman", times[0], times[2], 0)
	return nil
}

// crowd compares the total of 100 runs, 8 at a time.
func (s *stage) crowd(t *table, o options) error {
	var all []func() (time.Duration, error)
	for _, e := range []*engine{s.berth, s.docker, s.podman} {
		all = append(all, func() (d time.Duration, err error) {
			e.inPlace(func() { d, err = e.together(100, 8) })
			return d, err
		})
	}
	times, err := rounds(max(1, o.rounds/10), all...)
	if err != nil {
		return err
	}
	t.faster("100 × run --rm true, 8 at a time, against docker", times[0], times[1], 0)
	t.faster("100 × run --rm true, 8 at a time, against podman", times[0], times[2], 0)
	return nil
}

// together keeps width runs going until total are done; all are started by this
// thread, whose namespaces they inherit.
func (e *engine) together(total, width int) (time.Duration, error) {
	begin := time.Now()
	slots := make(chan struct{}, width)
	var wait sync.WaitGroup
	var lock sync.Mutex
	var failed error
	for range total {
		slots <- struct{}{}
		cmd := e.command("run", "--rm", "--network", "none", image, "true")
		if err := cmd.Start(); err != nil {
			return 0, err
		}
		wait.Go(func() {
			if err := cmd.Wait(); err != nil {
				lock.Lock()
				failed = errors.Join(failed, fmt.Errorf("%s run: %w", e.name, err))
				lock.Unlock()
			}
			<-slots
		})
	}
	wait.Wait()
	return time.Since(begin), failed
}
