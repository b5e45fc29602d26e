package container

import (
	"bytes"
	"fmt"
	"os"
	"reflect"
	"testing"
	"time"

	"berth/container/config"
	"berth/sys/stamp"
)

// TestIndex: a list is the same with the index, without it and with a broken one,
// whatever was done since it was written.
func TestIndex(t *testing.T) {
	s := open(t, t.TempDir())
	var all []ID
	for i := range 40 {
		all = append(all, create(t, s, fmt.Sprintf("many%d", i), func(r *Record) {
			r.Resolved = Resolved{Cmd: []string{"true"}, Labels: map[string]string{"number": fmt.Sprint(i)}}
			r.Config.Network = config.Network{Publish: []config.Port{{Protocol: "tcp", Container: 80, Host: 8080, Count: 1}}}
		}).ID)
	}
	self, err := Identify(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	_, other := sleeper(t)
	sameList(t, s, "created", 40)
	lock := map[ID]*Locked{}
	for i, id := range all {
		l := locked(t, s, id)
		if lock[id] = l; i >= 20 {
			continue
		}
		start(t, l, true, self)
		if i >= 10 {
			l.mustWriteExit(t, Exit{Code: i, Time: time.Now()})
			if _, err := l.Settle(); err != nil {
				t.Fatal(err)
			}
		}
	}
	sameList(t, s, "started", 40)
	for i, id := range all[:20] {
		l := lock[id]
		switch {
		case i < 5:
			err = l.Paused(true, &self)
		case i < 10: // as its monitor does, behind the back of all verbs
			l.mustWriteExit(t, Exit{Code: 7, Time: time.Now()})
		case i < 15:
			start(t, l, false, other)
		default:
			err = l.Remove()
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for i, id := range all[20:] {
		if err := lock[id].Rename(fmt.Sprintf("renamed%d", i)); err != nil {
			t.Fatal(err)
		}
	}
	got := sameList(t, s, "changed", 35)
	count := map[State]int{}
	for i := range got {
		count[got[i].Facts.State()]++
	}
	if want := map[State]int{StatePaused: 5, StateExited: 5, StateRunning: 5, StateCreated: 20}; !reflect.DeepEqual(count, want) {
		t.Errorf("states %v, want %v", count, want)
	}
}

// sameList lists n containers at once, when the index is old, and when their
// files were looked at long enough after they were written.
func sameList(t *testing.T, s *Store, what string, n int) []Summary {
	t.Helper()
	list := func() []Summary {
		t.Helper()
		got, err := s.List(t.Context())
		if err != nil || len(got) != n {
			t.Fatalf("%s: %d containers, %v, want %d", what, len(got), err, n)
		}
		return got
	}
	first := list()
	time.Sleep(stamp.Tick)
	list()
	data, err := os.ReadFile(s.indexPath())
	if err != nil {
		t.Fatal(err)
	}
	for _, index := range [][]byte{data, nil, data[:len(data)/2], append([]byte{9}, data[1:]...), bytes.Repeat([]byte{0xff}, len(data))} {
		if err := os.WriteFile(s.indexPath(), index, 0o600); err != nil {
			t.Fatal(err)
		}
		if got := list(); !reflect.DeepEqual(got, first) {
			t.Errorf("%s: with %d of %d bytes of the index the list is\n%+v\nwant\n%+v", what, len(index), len(data), got, first)
		}
	}
	return first
}
