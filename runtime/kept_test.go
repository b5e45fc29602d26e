package runtime

import (
	"reflect"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"berth/base/codec"
)

// TestKeptWhole: what is kept for execs has every field of a process that the
// specification knows, also those of a newer one.
func TestKeptWhole(t *testing.T) {
	p := new(specs.Process)
	fill(reflect.ValueOf(p).Elem(), 1)
	k := &kept{Process: p, Listener: "l", Metadata: "m", Program: make([]byte, 16), Flags: 3, Notify: true, Chroot: true}
	fill(reflect.ValueOf(&k.Rare).Elem(), 1)
	k.Rare.Scheduler, k.Rare.IOPriority, k.Rare.Affinity = p.Scheduler, p.IOPriority, p.ExecCPUAffinity
	to := new(codec.Coder)
	if err := k.wire(to); err != nil {
		t.Fatal(err)
	}
	got, from := new(kept), codec.Decode(to.Buf)
	if err := got.wire(from); err != nil || len(from.Buf) > 0 {
		t.Fatalf("%v, %d bytes left", err, len(from.Buf))
	}
	got.Process.Scheduler, got.Process.IOPriority, got.Process.ExecCPUAffinity = got.Rare.Scheduler, got.Rare.IOPriority, got.Rare.Affinity
	p.CommandLine = "" // of another system
	if !reflect.DeepEqual(got, k) {
		t.Errorf("read %+v %+v, kept %+v %+v", got, got.Process, k, p)
	}
	for n := range to.Buf {
		if err := new(kept).wire(codec.Decode(to.Buf[:n])); err == nil {
			t.Errorf("%d of %d bytes are taken for all", n, len(to.Buf))
		}
	}
}

// fill gives every field a value other than the zero value.
func fill(v reflect.Value, n int) {
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), n)
	case reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i), n+i)
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range 2 {
			fill(v.Index(i), n+i)
		}
	case reflect.String:
		v.SetString(string(rune('a' + n)))
	case reflect.Bool:
		v.SetBool(true)
	default:
		v.Set(reflect.ValueOf(n).Convert(v.Type()))
	}
}
