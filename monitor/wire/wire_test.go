package wire

import (
	"reflect"
	"testing"
)

// all is one of each message, with every field set.
func all() []Message {
	return []Message{
		&Nothing{},
		&Config{Version: 1, ID: "a", Dir: "/d", Stdin: true, StdinOnce: true, Terminal: true, Passthrough: true,
			Log:    Log{Driver: "json-file", Path: "/p", MaxSize: 1 << 40, MaxFile: 3, Compress: true, Attrs: `{"a":"b"}`, Send: []string{"s"}, Head: "h"},
			Exited: []string{"x", "y"}, Again: []string{""}, Health: []string{"z"}, Compress: []string{"c"}, Env: []string{"A=b"},
			HealthAfter: 300, OOMScoreAdj: -999, ChildOOMScoreAdj: 1000, Lost: Lost{7, 1 << 60}, AgainIn: 5, Life: Life{9, 1 << 50}, Beside: Beside{[]string{"b"}, []string{"r", "s"}}},
		&Clone{"attr"}, &Cloned{5, true}, &Child{-1}, &Adopt{3, true}, &Session{"id", 9, true},
		&Attach{true, true, true, true}, &Watch{"s", true},
		&Exit{PID: 1, Code: 137, Signal: 9, OOM: true, Lost: true, Time: -5, Yours: true, Incomplete: true},
		&Verdict{true, 60000}, &Resize{"s", 65535, 1}, &Signal{"s", 9}, &Held{3},
		&Status{1, 2, true, []string{"a", "b"}, 3, 4, 5, 6}, &Failed{2, "no such file"},
	}
}

func TestRoundTrip(t *testing.T) {
	for _, m := range all() {
		v := reflect.ValueOf(m).Elem()
		for i := range v.NumField() {
			if v.Field(i).IsZero() {
				t.Errorf("%T: field %s is not in the test", m, v.Type().Field(i).Name)
			}
		}
		b := Event(m)
		got := reflect.New(v.Type()).Interface().(Message)
		if err := Decode(b, got); err != nil || !reflect.DeepEqual(got, m) {
			t.Errorf("%T: %+v, %v", m, got, err)
		}
		for n := range b { // cut short anywhere
			if err := Decode(b[:n], reflect.New(v.Type()).Interface().(Message)); err == nil {
				t.Errorf("%T: %d bytes of %d are taken", m, n, len(b))
			}
		}
		if err := Decode(append(b, 0), reflect.New(v.Type()).Interface().(Message)); err == nil {
			t.Errorf("%T: more than all is taken", m)
		}
	}
}

func TestAnswers(t *testing.T) {
	c := &Cloned{}
	if f, err := ReadAnswer(Answer(&Cloned{5, true}), c); f != nil || err != nil || c.PID != 5 {
		t.Errorf("%v, %v, %+v", f, err, c)
	}
	if f, err := ReadAnswer(Failure(2, "words"), c); err != nil || f.Errno != 2 || f.Text != "words" {
		t.Errorf("%v, %v", f, err)
	}
	if _, err := ReadAnswer(nil, c); err == nil {
		t.Error("an empty answer")
	}
}

func FuzzDecode(f *testing.F) {
	for i, m := range all() {
		f.Add(byte(i), Event(m))
	}
	f.Fuzz(func(t *testing.T, kind byte, b []byte) {
		m := all()[int(kind)%len(all())]
		if Decode(b, m) != nil {
			return
		}
		again := reflect.New(reflect.TypeOf(m).Elem()).Interface().(Message)
		if err := Decode(Event(m), again); err != nil || !reflect.DeepEqual(m, again) {
			t.Errorf("%+v, then %+v, %v", m, again, err)
		}
	})
}
