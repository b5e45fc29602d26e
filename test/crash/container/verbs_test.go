package container

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"berth/test/berth"
)

// verb is one command that is disturbed, on the container "one".
type verb struct {
	name    string
	words   []string
	first   [][]string           // before that
	prepare []string             // before it, one command; nil for none
	then    func(p *place) error // after that; nil for nothing
	again   []string             // what the same command, run again, may say in place of success
	// goes is a network that is removed next, instead of the same command again.
	goes string
	// done looks whether what the command has said is so.
	done func(p *place, said berth.Result) error
}

const (
	here = "is already in use" // the disturbed one was far enough
	gone = "No such container"
	dead = "is not running"
	lost = "exit code is not known" // a warning with exit 255
)

// verbs: the first words of each are after the container's options, so that
// each network and volumes are met.
func verbs() []verb {
	sleep := []string{"berth/base", "sleep", "100000"}
	run := func(words ...string) []string { return append(words, sleep...) }
	return []verb{
		{name: "create", words: run("create", "--name", "one", "-v", "/data"), again: []string{here}, done: there},
		{name: "run", words: []string{"run", "--rm", "--name", "one", "-v", "/data", "berth/base", "echo", "hello"}, again: []string{here}},
		{name: "run-d", words: run("run", "-d", "--name", "one", "--network", "none"), again: []string{here}, done: runs},
		{name: "start", words: []string{"start", "one"}, prepare: run("create", "--name", "one", "-p", "127.0.0.1::80"), done: runs},
		{name: "exec", words: []string{"exec", "one", "echo", "hello"}, prepare: run("run", "-d", "--name", "one", "--network", "none"), again: []string{dead}},
		{name: "commit", words: []string{"commit", "one", "made"}, prepare: run("run", "-d", "--name", "one", "--network", "none"), done: committed},
		{name: "stop", words: []string{"stop", "-t", "0", "one"}, prepare: run("run", "-d", "--name", "one", "-p", "127.0.0.1::80"), done: stopped},
		{name: "restart", words: []string{"restart", "-t", "0", "one"}, prepare: run("run", "-d", "--rm", "--name", "one", "-v", "/data"), again: []string{gone}, done: runs},
		{name: "rm", words: []string{"rm", "-v", "one"}, prepare: run("create", "--name", "one", "-v", "/data"), again: []string{gone}, done: removed},
		{name: "net-create", words: []string{"network", "create", "net"}, again: []string{"already exists"}, done: onNetwork("")},
		{name: "net-rm", words: []string{"network", "rm", "net"}, first: [][]string{{"network", "create", "net"}, {"run", "--rm", "--network", "net", "berth/base", "true"}}, again: []string{"No such network"}, done: noNetwork},
		{name: "net-connect", words: []string{"network", "connect", "net", "one"}, first: [][]string{{"network", "create", "net"}}, prepare: run("run", "-d", "--name", "one", "-p", "127.0.0.1::80"), again: []string{"already exists in network"}, done: onNetwork("eth0 eth1 lo")},
		{name: "net-disconnect", words: []string{"network", "disconnect", "other", "one"}, first: [][]string{{"network", "create", "net"}, {"network", "create", "other"}}, prepare: run("run", "-d", "--name", "one", "-p", "127.0.0.1::80", "--network", "other", "--network", "net"), again: []string{"is not connected to"}, done: onNetwork("eth1 lo")},
		{name: "net-connect-rm", words: []string{"network", "connect", "net", "one"}, first: [][]string{{"network", "create", "net"}}, prepare: run("run", "-d", "--name", "one"), goes: "net"},
		{name: "net-disconnect-rm", words: []string{"network", "disconnect", "other", "one"}, first: [][]string{{"network", "create", "net"}, {"network", "create", "other"}}, prepare: run("run", "-d", "--name", "one", "--network", "other", "--network", "net"), goes: "other"},
		{name: "net-publish", words: []string{"update", "--publish-add", "127.0.0.1:18099:80", "--publish-rm", "81", "one"}, prepare: run("run", "-d", "--name", "one", "-p", "127.0.0.1:18098:81", "-p", "18097:82/udp"), again: []string{"does not publish"}, done: publishes},
		{name: "rm-f", words: []string{"rm", "-f", "-v", "one"}, prepare: run("run", "-d", "--name", "one", "-v", "/data", "--restart", "always"), again: []string{gone}, done: removed},
	}
}

// begin brings the place to where the verb begins.
func (v *verb) begin(p *place) error {
	all := v.first
	if v.prepare != nil {
		all = append(slices.Clip(all), v.prepare)
	}
	for _, words := range all {
		if err := p.Do(words...).Err(); err != nil {
			return fmt.Errorf("before: %w", err)
		}
	}
	if v.then != nil {
		return v.then(p)
	}
	return nil
}

// ofNetwork reports whether the verb is about networks.
func (v *verb) ofNetwork() bool { return strings.HasPrefix(v.name, "net-") }

// onNetwork: there is the network, and the container, if there is to be one, has just
// these devices.
func onNetwork(devices string) func(*place, berth.Result) error {
	return func(p *place, _ berth.Result) error {
		if err := p.Do("network", "inspect", "net").Err(); err != nil || devices == "" {
			return err
		}
		r := p.Do("exec", "one", "ls", "/sys/class/net")
		if r.Code != 0 || strings.Join(strings.Fields(r.Out), " ") != devices {
			return fmt.Errorf("it said that it was done, and has not %s: %s", devices, r)
		}
		return nil
	}
}

func noNetwork(p *place, _ berth.Result) error {
	if r := p.Do("network", "inspect", "net"); r.Code == 0 || !strings.Contains(r.Errors, "No such network") {
		return fmt.Errorf("it said that it was done: %s", r)
	}
	return nil
}

// publishes: the one port came and the other went.
func publishes(p *place, _ berth.Result) error {
	if r := p.Do("port", "one"); r.Code != 0 || r.Out != "80/tcp -> 127.0.0.1:18099\n82/udp -> 0.0.0.0:18097\n82/udp -> :::18097\n" {
		return fmt.Errorf("it said that it was done: %s", r)
	}
	return nil
}

// there: the id that create printed is a container's.
func there(p *place, said berth.Result) error {
	return p.Do("inspect", strings.TrimSpace(said.Out)).Err()
}

func runs(p *place, _ berth.Result) error { return p.state("running") }

func stopped(p *place, _ berth.Result) error { return p.state("exited") }

func (p *place) state(want string) error {
	r := p.Do("inspect", "-f", "{{.State.Status}}", "one")
	if strings.TrimSpace(r.Out) != want {
		return fmt.Errorf("it said that it was done, and the state is not %s: %s", want, r)
	}
	return nil
}

func removed(p *place, _ berth.Result) error {
	if r := p.Do("inspect", "one"); r.Code == 0 || !strings.Contains(r.Errors, "No such") {
		return fmt.Errorf("it said that it was done: %s", r)
	}
	return nil
}

// committed: the image that commit named can be used.
func committed(p *place, said berth.Result) error {
	return p.Do("run", "--rm", "--network", "none", strings.TrimSpace(said.Out), "true").Err()
}

// after does what a person would do next: looks, tries again, and removes it.
func (v *verb) after(p *place) error {
	if r := p.Do("ps", "-a"); r.Code != 0 || r.Errors != "" {
		return fmt.Errorf("next: %s", r)
	}
	if v.name == "restart" {
		if err := p.runsOrGoes(); err != nil {
			return err
		}
	}
	if v.goes != "" {
		if err := p.networkGoes(v.goes); err != nil {
			return err
		}
		return v.inTheEnd(p)
	}
	again := p.Do(v.words...)
	if again.Code != 0 && !excused(again, v.again) {
		return fmt.Errorf("the second time: %s", again)
	}
	if v.ofNetwork() {
		if err := v.done(p, again); err != nil {
			return fmt.Errorf("after the second time: %w", err)
		}
		if err := p.reachable(); err != nil {
			return err
		}
	}
	if strings.HasPrefix(v.name, "run") && again.Code != 0 || v.name == "start" || strings.HasPrefix(v.name, "exec") || v.name == "commit" {
		if err := v.usable(p, again); err != nil {
			return err
		}
	}
	return v.inTheEnd(p)
}

// networkGoes: a network can be removed, unless the container is on it.
func (p *place) networkGoes(name string) error {
	on := p.Do("inspect", "-f", "{{range $n, $e := .NetworkSettings.Networks}}{{$n}} {{end}}", "one")
	r := p.Do("network", "rm", name)
	is := strings.Contains(on.Out, name+" ")
	if on.Code != 0 || is != (r.Code != 0) || is && !strings.Contains(r.Errors, "has active endpoints") {
		return fmt.Errorf("it is on %q: %s", on.Out, r)
	}
	return p.reachable()
}

// inTheEnd removes all.
func (v *verb) inTheEnd(p *place) error {
	for range 2 { // the second time it is not there
		if r := p.Do("rm", "-f", "-v", "one"); r.Code != 0 && !excused(r, []string{gone}) {
			return fmt.Errorf("in the end: %s", r)
		}
	}
	if v.name == "commit" {
		return p.Do("rmi", "made").Err()
	}
	if v.ofNetwork() {
		for _, n := range []string{"net", "other"} {
			if r := p.Do("network", "rm", n); r.Code != 0 && !excused(r, []string{"No such network"}) {
				return fmt.Errorf("in the end: %s", r)
			}
		}
	}
	return nil
}

// reachable: the host reaches the container's addresses, where it has a way to ask.
func (p *place) reachable() error {
	r := p.Do("inspect", "-f", "{{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}", "one")
	if r.Code != 0 || p.user != nil {
		return nil // it is not about one, or the host has no way to a user's
	}
	for _, a := range strings.Fields(r.Out) {
		// Nobody serves there: it is refused, by the container.
		c, err := net.DialTimeout("tcp", a+":1", 10*time.Second)
		if err == nil {
			c.Close()
		}
		if err != nil && !errors.Is(err, unix.ECONNREFUSED) {
			return fmt.Errorf("its address is not reached: %w", err)
		}
	}
	return nil
}

// runsOrGoes: one with --rm does not stay when it has ended; its monitor may be about
// to remove it.
func (p *place) runsOrGoes() error {
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		r := p.Do("ps", "-aq", "--filter", "status=exited")
		if r.Code == 0 && r.Out == "" {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("it has ended and stays: %s", r)
		}
	}
}

// usable asks that what is there can be used: a container that was killed in its
// middle can be started, one that runs can be entered.
func (v *verb) usable(p *place, again berth.Result) error {
	if v.name == "run" { // it goes at its end
		return nil
	}
	return errors.Join(p.Do("start", "one").Err(), p.Do("exec", "one", "true").Err(), p.Do("stop", "-t", "0", "one").Err())
}

func excused(r berth.Result, excuses []string) bool {
	for _, e := range excuses {
		if strings.Contains(r.Errors, e) {
			return true
		}
	}
	return false
}
