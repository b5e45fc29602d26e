package container

import (
	"reflect"
	"testing"
	"time"
)

// fillIn gives every field of a value something, so that one that is not coded
// shows.
func fillIn(v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		v.SetString("text of " + v.Type().String())
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(-77)
	case reflect.Uint16:
		v.SetUint(7777)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		fillIn(v.Index(0))
		fillIn(v.Index(1))
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(reflect.ValueOf("key"), reflect.ValueOf("value"))
	case reflect.Struct:
		switch v.Type() {
		case reflect.TypeFor[time.Time]():
			v.Set(reflect.ValueOf(time.Unix(1_800_000_000, 123_456_789).UTC()))
			return
		case reflect.TypeFor[Facts](): // not in the file
			return
		}
		for i := range v.NumField() {
			fillIn(v.Field(i))
		}
	}
}

// TestSummaryCoded: every field comes back; one byte that is another is noticed.
func TestSummaryCoded(t *testing.T) {
	var full, empty Summary
	fillIn(reflect.ValueOf(&full).Elem())
	empty.Created = time.Unix(0, 0).UTC()
	for _, s := range []*Summary{&full, &empty} {
		b := s.encode()
		got, err := decodeSummary(b)
		if err != nil || !reflect.DeepEqual(got, s) {
			t.Errorf("read back %+v, %v\nwrote %+v", got, err, s)
		}
		for i := range b {
			torn := append([]byte(nil), b...)
			torn[i] ^= 0x40
			if _, err := decodeSummary(torn); err == nil {
				t.Errorf("byte %d may be another", i)
			}
			if _, err := decodeSummary(b[:i]); err == nil {
				t.Errorf("%d bytes are enough", i)
			}
		}
	}
}
