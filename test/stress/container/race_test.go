package container

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"berth/test/berth"
	"berth/test/sample"
)

// pairs are two verbs on one container at the same time. NAME is its name.
var pairs = [][2]string{
	{"start NAME", "start NAME"},
	{"start NAME", "rm -f NAME"},
	{"start NAME", "stop -t 0 NAME"},
	{"start NAME", "rename NAME NAME-b"},
	{"start NAME", "kill NAME"},
	{"stop -t 0 NAME", "stop -t 0 NAME"},
	{"stop -t 0 NAME", "rm -f NAME"},
	{"stop -t 0 NAME", "restart -t 0 NAME"},
	{"kill NAME", "rm -f NAME"},
	{"kill NAME", "exec NAME true"},
	{"rm -f NAME", "rm -f NAME"},
	{"rm -f NAME", "exec NAME sleep 1"},
	{"rm -f NAME", "rename NAME NAME-b"},
	{"rm -f NAME", "update --memory 64m --memory-swap 64m NAME"},
	{"rm -f NAME", "restart -t 0 NAME"},
	{"rm -f NAME", "wait NAME"},
	{"rm -f NAME", "logs -f NAME"},
	{"rm -f NAME", "inspect NAME"},
	{"rm -f NAME", "ps -a"},
	{"rm -f NAME", "container prune -f"},
	{"pause NAME", "stop -t 0 NAME"},
	{"pause NAME", "rm -f NAME"},
	{"pause NAME", "exec NAME true"},
	{"rename NAME NAME-b", "rename NAME NAME-c"},
	{"container prune -f", "start NAME"},
	{"check --repair", "start NAME"},
	{"check --repair", "rm -f NAME"},
}

// excuses are what a verb may say whose container another one has changed.
var excuses = []string{
	"No such container", "is not running", "no container with name", "is paused", "is already paused", "cannot start a paused container", "is not paused",
	"is marked for removal", "is already in progress", "cannot update", "No such object", "already in use", "is restarting", "Container name does not exist",
	"cannot join", "can not get logs from container which is dead", "is already in use", "is running",
}

// TestTwoAtOnce: two verbs meet on one container, which runs or was only made.
// Each does its work or says in one line that the other was first; afterwards the
// container can be removed, or is gone.
func TestTwoAtOnce(t *testing.T) {
	b := store(t)
	rng := sample.Random(t, 5)
	var all []meeting
	for i := range max(sample.Rounds(20), 1) {
		for _, p := range pairs {
			if i%2 == 1 {
				p[0], p[1] = p[1], p[0]
			}
			running := !strings.HasPrefix(p[0], "start") && !strings.HasPrefix(p[1], "start")
			all = append(all, meeting{p, running, nets[rng.IntN(2)], time.Duration(rng.IntN(30)) * time.Millisecond})
		}
	}
	// Not several at a time, as prune and repair are for all.
	for i, m := range all {
		if err := m.take(b, fmt.Sprintf("met%d", i)); err != nil {
			t.Errorf("%q, %v later, network %s: %v", m.pair, m.delay, m.network, err)
		}
	}
}

// meeting is two verbs on one container, the second some time after the first.
type meeting struct {
	pair    [2]string
	running bool
	network string
	delay   time.Duration
}

func (m *meeting) take(b *berth.Berth, name string) error {
	words := []string{"create", "--name", name, "--network", m.network, "berth/base", "sleep", "1000"}
	if m.running {
		words = slices.Concat([]string{"run", "-d"}, words[1:])
	}
	if err := b.Do(words...).Err(); err != nil {
		return err
	}
	first, second := make(chan berth.Result), make(chan berth.Result)
	do := func(line string) berth.Result { return b.Do(strings.Fields(strings.ReplaceAll(line, "NAME", name))...) }
	go func() { first <- do(m.pair[0]) }()
	time.Sleep(m.delay)
	go func() { second <- do(m.pair[1]) }()
	var failed error
	end := func(c chan berth.Result, line string) {
		select {
		case r := <-c:
			failed = errors.Join(failed, excused(r))
			return
		case <-time.After(20 * time.Second):
		}
		if m.frozen(line) {
			failed = errors.Join(failed, b.Do("unpause", name).Err())
		} else {
			failed = errors.Join(failed, fmt.Errorf("berth %s does not end", strings.ReplaceAll(line, "NAME", name)))
			_ = b.Do("kill", name)
		}
		failed = errors.Join(failed, excused(<-c))
	}
	end(second, m.pair[1])
	end(first, m.pair[0])
	for _, n := range []string{name, name + "-b", name + "-c"} {
		if r := b.Do("rm", "-f", n); r.Code != 0 && !strings.Contains(r.Errors, "No such container") {
			return r.Err()
		}
	}
	if r := b.Do("ps", "-aq"); r.Code != 0 || r.Out != "" || r.Errors != "" {
		_, err := b.Empty()
		return errors.Join(failed, fmt.Errorf("in the end: %s", r), err)
	}
	return failed
}

// frozen tells that a verb may wait for the end of the other one's pause: an exec
// whose program was there already.
func (m *meeting) frozen(line string) bool {
	return strings.HasPrefix(line, "exec") && slices.Contains(m.pair[:], "pause NAME")
}

func excused(r berth.Result) error {
	if r.Code == 0 || r.Words[0] == "exec" && r.Code == 137 || r.Words[0] == "wait" && r.Code == 0 {
		return nil
	}
	said := strings.TrimSpace(r.Errors)
	if r.Code == -1 || strings.Count(said, "\n") > 1 || !slices.ContainsFunc(excuses, func(e string) bool { return strings.Contains(said, e) }) {
		return fmt.Errorf("%s", r)
	}
	return nil
}

// TestRemovedWhileStarting: rm -f meets a run at any moment. The run ends with a
// code; nothing is left.
func TestRemovedWhileStarting(t *testing.T) {
	b := store(t)
	rng := sample.Random(t, 5)
	delays := make([]time.Duration, max(sample.Rounds(400), 20))
	for i := range delays {
		delays[i] = time.Duration(rng.IntN(80_000)) * time.Microsecond
	}
	sample.Parallel(t, workers, len(delays), func(i int) error {
		name := fmt.Sprintf("early%d", i)
		words := []string{"run", "--name", name, "--network", nets[i%2]}
		if i%3 == 0 {
			words = append(words, "--rm")
		}
		if i%4 == 1 {
			words = append(words, "-d")
		}
		started := make(chan berth.Result)
		go func() { started <- b.Do(append(words, "berth/base", "sleep", "1000")...) }()
		time.Sleep(delays[i])
		var r berth.Result
		for {
			if r := b.Do("rm", "-f", name); r.Code != 0 && !strings.Contains(r.Errors, "No such container") {
				return r.Err()
			}
			select {
			case r = <-started:
			case <-time.After(20 * time.Millisecond):
				continue
			}
			break
		}
		if r.Code == -1 {
			return r.Err()
		}
		if r := b.Do("rm", "-f", name); r.Code != 0 && !strings.Contains(r.Errors, "No such container") {
			return r.Err()
		}
		return nil
	})
}
