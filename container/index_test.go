package container

import (
	"bytes"
	"fmt"
	"os"
	"reflect"
	"testing"
	"time"

	"berth/base/codec"
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
			if _, err := l.Settle(false); err != nil {
				t.Fatal(err)
			}
		}
	}
	sameList(t, s, "started", 40)
	for i, id := range all[:20] {
		l := lock[id]
		switch {
		case i < 5:
			err = l.Paused(true, nil)
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
	data, err := os.ReadFile(s.index().Path)
	if err != nil {
		t.Fatal(err)
	}
	for _, index := range [][]byte{data, nil, data[:len(data)/2], append([]byte{9}, data[1:]...), bytes.Repeat([]byte{0xff}, len(data))} {
		if err := os.WriteFile(s.index().Path, index, 0o600); err != nil {
			t.Fatal(err)
		}
		if got := list(); !reflect.DeepEqual(got, first) {
			t.Errorf("%s: with %d of %d bytes of the index the list is\n%+v\nwant\n%+v", what, len(index), len(data), got, first)
		}
	}
	return first
}

// TestIndexKeepsAll: each field of what is coded comes back, but those that no list
// looks at.
func TestIndexKeepsAll(t *testing.T) {
	var want indexed
	fill(reflect.ValueOf(&want).Elem())
	want.sum.Facts = Facts{}
	want.life.Version, want.life.Before, want.life.Delay, want.life.Started.Durable = 0, nil, 0, false
	c := new(codec.Coder)
	codeIndexed(c, &want)
	var got indexed
	codeIndexed(codec.Decode(c.Buf), &got)
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%+v\nwant\n%+v", got, want)
	}
}

// fill makes everything in a value other than zero.
func fill(v reflect.Value) {
	if v.CanAddr() && !v.CanSet() { // an unexported field
		v = reflect.NewAt(v.Type(), v.Addr().UnsafePointer()).Elem()
	}
	if v.Type() == reflect.TypeFor[time.Time]() {
		v.Set(reflect.ValueOf(time.Unix(7, 8).UTC()))
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i))
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem())
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0))
	case reflect.Map:
		v.Set(reflect.ValueOf(map[string]string{"a": "b"}))
	case reflect.String:
		v.SetString("text")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(5)
	case reflect.Uint64, reflect.Uint32, reflect.Uint16:
		v.SetUint(6)
	default:
		panic(v.Kind())
	}
}
