package lease

import (
	"testing"
	"time"
)

// FuzzParse: whatever is in a lease's file, it is one lease or an error, and
// what is one can be asked whether it is dead.
func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"version":1,"id":"x","created":"2026-01-02T03:04:05Z","expiry":"2026-01-02T03:04:05Z","owner":{"pid":1,"start":2,"boot":"b"},"labels":{"a":"b"},"resources":[{"id":"i","type":"content"}]}`))
	f.Add([]byte(`{"version":1,"id":"x","labels":{"containerd.io/gc.expire":"never"}}`))
	f.Add([]byte(`{"version":1,"id":"x","owner":{"pid":0}}`))
	f.Add([]byte(`{"version":1,"id":"x","owner":{"pid":1,"start":2,"boot":"b"},"resources":[]}` + "\n" + `[{"id":"i","type":"content"}]` + "\n" + `[{"id":"i","type":"content"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := parse("x.json", b)
		if err != nil {
			return
		}
		if r.ID != "x" {
			t.Fatalf("another id %q", r.ID)
		}
		r.lease().Dead(time.Now())
		for _, res := range r.Resources {
			if err := res.check(); err != nil {
				t.Fatal(err)
			}
		}
	})
}
