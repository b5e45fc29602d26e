package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"berth/test/netns"
)

// attach is what a published port on the default bridge costs a run.
func (s *stage) attach(t *table, o options) error {
	run := func(e *engine, words ...string) func() (time.Duration, error) {
		return e.doing(slices.Concat([]string{"run", "--rm"}, words, []string{image, "true"})...)
	}
	times, err := rounds(o.rounds, run(s.berth, "--network", "none"), run(s.berth, "-p", "18080:80"),
		run(s.docker, "--network", "none"), run(s.docker, "-p", "18080:80"))
	if err != nil {
		return err
	}
	t.most("a bridge with a published port adds to run", float64(median(times[1])-median(times[0]))/1e6, 5, "ms")
	t.rows = append(t.rows, row{name: "the same, docker", theirs: text(median(times[3]) - median(times[2])), shown: true})
	return nil
}

// ports publishes a thousand ports of one container: a range that stays as it is,
// and one that is shifted, which takes an element of the firewall for each port. What
// they add to the same run without them is judged.
func (s *stage) ports(t *table, o options) error {
	run := func(words ...string) func() (time.Duration, error) {
		return func() (time.Duration, error) {
			d, _, err := s.berth.timed(slices.Concat([]string{"run", "-d", "--name", "ports"}, words, []string{image, "sleep", "100000"})...)
			return d, errors.Join(err, s.berth.run("rm", "-f", "ports"))
		}
	}
	times, err := rounds(max(o.rounds/3, 3), run(), run("-p", "20000-20999:20000-20999"), run("-p", "20000-20999:30000-30999"))
	if err != nil {
		return err
	}
	bare := median(times[0])
	for i, name := range []string{"1,000 published ports add to run -d", "the same, on other ports"} {
		t.most(name, float64(median(times[i+1])-bare)/1e6, 50, "ms")
	}
	t.rows = append(t.rows, row{name: "run -d without ports, with 1,000, with 1,000 on others", ours: text(bare), theirs: text(median(times[1])) + ", " + text(median(times[2])), shown: true})
	return nil
}

// members has many containers come to one network and leave it, and counts what
// a change of the firewall wakes while they are there.
func (s *stage) members(t *table, o options) error {
	if err := s.berth.run("network", "create", "members"); err != nil {
		return err
	}
	defer func() { _ = s.berth.run("network", "rm", "members") }()
	defer func() { _, _ = s.own.Empty() }()
	var come, leave []time.Duration
	var pids []string
	for i := range o.running {
		d, _, err := s.berth.timed("run", "-d", "--name", fmt.Sprintf("member%d", i), "--network", "members", image, "sleep", "100000")
		if err != nil {
			return err
		}
		come = append(come, d)
		pid, err := s.berth.output("inspect", "-f", "{{.State.Pid}}", fmt.Sprintf("member%d", i))
		if err != nil {
			return err
		}
		pids = append(pids, pid)
	}
	if err := s.wakeUps(t, pids); err != nil {
		return err
	}
	for i := range o.running {
		d, _, err := s.berth.timed("rm", "-f", fmt.Sprintf("member%d", i))
		if err != nil {
			return err
		}
		leave = append(leave, d)
	}
	part := max(o.running/10, 1)
	for _, one := range []struct {
		name  string
		times []time.Duration
	}{{"come to", come}, {"leave", leave}} {
		first, last := median(one.times[:part]), median(one.times[len(one.times)-part:])
		t.rows = append(t.rows, row{name: fmt.Sprintf("%d containers %s one network, the last %d against the first", o.running, one.name, part),
			ours: text(last), theirs: text(first), value: float64(last) / float64(first), goal: 4. / 3})
	}
	return nil
}

// wakeUps counts how often the kernel let idle containers and their monitors run
// while others' networks, ports and rules came and went.
func (s *stage) wakeUps(t *table, pids []string) error {
	all := slices.Clone(pids)
	for _, pid := range pids {
		parent, err := field("/proc/"+pid+"/status", "PPid:")
		if err != nil {
			return err
		}
		all = append(all, strconv.Itoa(int(parent)))
	}
	time.Sleep(3 * time.Second) // the last ones have just begun
	before, err := switches(all)
	if err != nil {
		return err
	}
	for _, words := range [][]string{{"network", "create", "another"}, {"run", "--rm", "--network", "another", "-p", "18081:80", image, "true"}, {"network", "rm", "another"}} {
		if err := s.berth.run(words...); err != nil {
			return err
		}
	}
	after, err := switches(all)
	if err != nil {
		return err
	}
	t.most(fmt.Sprintf("wake-ups of %d idle containers by changes of the firewall", len(pids)), after-before, 0, "")
	return nil
}

// switches is how often all threads of processes were given a processor.
func switches(pids []string) (sum float64, err error) {
	for _, pid := range pids {
		tasks, err := filepath.Glob("/proc/" + pid + "/task/*/status")
		if err != nil {
			return 0, err
		}
		for _, file := range tasks {
			for _, name := range []string{"voluntary_ctxt_switches:", "nonvoluntary_ctxt_switches:"} {
				n, err := field(file, name)
				if err != nil {
					return 0, err
				}
				sum += n
			}
		}
	}
	return sum, nil
}

// throughput is iperf3's, from container to container and from the host to a
// published port; iperf3 is the machine's, with what it links.
func (s *stage) throughput(t *table, o options) error {
	if _, err := exec.LookPath("iperf3"); err != nil {
		return fmt.Errorf("%w: install the package iperf3", err)
	}
	pid := strconv.Itoa(s.dockerd.Process.Pid)
	for _, words := range [][]string{{"ip", "link", "set", "lo", "up"}, {"nsenter", "-t", pid, "-n", "ip", "link", "set", "lo", "up"}} {
		if _, err := netns.Run(words[0], words[1:]...); err != nil {
			return err
		}
	}
	var rates [2][2][]time.Duration // engine, way: time for a gigabit
	for i, e := range []*engine{s.berth, s.docker} {
		if err := e.serveIperf(); err != nil {
			return err
		}
		defer e.dropIperf()
		address, err := e.output("inspect", "-f", "{{.NetworkSettings.Networks.iperf.IPAddress}}", "iperf")
		if err != nil {
			return err
		}
		for range max(o.rounds/10, 3) {
			for way, words := range [][]string{
				append(iperfRun("run", "--rm", "--network", "iperf"), "-c", address),
				append(iperfRun("run", "--rm", "--network", "host"), "-c", "127.0.0.1", "-p", "15201"),
			} {
				d, err := e.gigabit(append(words, "-t", "2", "-J"))
				if err != nil {
					return err
				}
				rates[i][way] = append(rates[i][way], d)
			}
		}
	}
	for way, name := range []string{"container to container", "host to a published port"} {
		ours, theirs := median(rates[0][way]), median(rates[1][way])
		t.rows = append(t.rows, row{name: "a gigabit, " + name + ", against docker", ours: text(ours), theirs: text(theirs),
			value: float64(theirs) / float64(ours), goal: 0.95, atLeast: true})
	}
	return nil
}

// iperfRun runs the machine's iperf3 in a container.
func iperfRun(words ...string) []string {
	return append(words, "-v", "/usr:/usr:ro", "-v", "/lib:/lib:ro", "-v", "/lib64:/lib64:ro", image, "/usr/bin/iperf3")
}

func (e *engine) serveIperf() error {
	err := errors.Join(e.run("network", "create", "iperf"),
		e.run(append(iperfRun("run", "-d", "--name", "iperf", "--network", "iperf", "-p", "15201:5201"), "-s", "--forceflush")...))
	for range 100 {
		out, lerr := e.output("logs", "iperf")
		if err = errors.Join(err, lerr); err != nil || strings.Contains(out, "listening") {
			return err
		}
		time.Sleep(50 * time.Millisecond)
	}
	return fmt.Errorf("iperf3 does not listen with %s", e.name)
}

func (e *engine) dropIperf() {
	_ = e.run("rm", "-f", "iperf")
	_ = e.run("network", "rm", "iperf")
}

// gigabit is how long a client of iperf3 takes for 10⁹ bits.
func (e *engine) gigabit(words []string) (time.Duration, error) {
	text, err := e.output(words...)
	if err != nil {
		return 0, err
	}
	var r struct {
		End struct {
			Sum struct {
				Rate float64 `json:"bits_per_second"`
			} `json:"sum_received"`
		}
	}
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		return 0, fmt.Errorf("iperf3 says %.200q: %w", text, err)
	}
	if r.End.Sum.Rate <= 0 {
		return 0, fmt.Errorf("iperf3 says %q", text[max(0, len(text)-200):])
	}
	return time.Duration(1e9 / r.End.Sum.Rate * float64(time.Second)), nil
}

// names is how long a container waits for the address of another one.
func (s *stage) names(t *table, o options) error {
	asker := filepath.Join(s.dir, "asker")
	cmd := exec.Command("go", "build", "-trimpath", "-o", asker, "./test/bench/asker")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build the asker: %w: %s", err, out)
	}
	var took [2]float64
	for i, e := range []*engine{s.berth, s.docker} {
		if err := errors.Join(e.run("network", "create", "names"), e.run("run", "-d", "--name", "asked", "--network", "names", image, "sleep", "100000")); err != nil {
			return err
		}
		defer func() {
			_ = e.run("rm", "-f", "asked")
			_ = e.run("network", "rm", "names")
		}()
		out, err := e.output("run", "--rm", "--network", "names", "-v", asker+":/asker:ro", image, "/asker", "asked", "1000")
		if err != nil {
			return err
		}
		if took[i], err = strconv.ParseFloat(out, 64); err != nil {
			return err
		}
	}
	t.most("answer to a name", took[0]/1e6, 0.5, "ms")
	t.rows = append(t.rows, row{name: "the same, docker", theirs: text(time.Duration(took[1])), shown: true})
	return nil
}
