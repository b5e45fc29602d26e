package container

import (
	"fmt"
	"os"
	"testing"

	"berth/container/config"
)

func BenchmarkList1000(b *testing.B) {
	s := open(b, b.TempDir())
	for i := range 1000 {
		rec := create(b, s, fmt.Sprintf("name%d", i), toRemove, func(r *Record) {
			r.Resolved = Resolved{Cmd: []string{"bash", "-c", "true"}, Labels: map[string]string{"com.example.a": "b", "com.example.c": "d"}}
			r.Config.Network = config.Network{Mode: "bridge", Publish: []config.Port{{Protocol: "tcp", Container: 80, Host: 8080, Count: 1}}}
		})
		l, err := s.Lock(b.Context(), rec.ID)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := l.Prepare(true); err != nil {
			b.Fatal(err)
		}
		pid := Process{PID: os.Getpid(), StartTime: 1}
		if i < 200 {
			pid, _ = Identify(os.Getpid())
		}
		if err := l.Started(Started{Process: pid}); err != nil {
			b.Fatal(err)
		}
		if i >= 200 {
			if _, err := l.Settle(false); err != nil {
				b.Fatal(err)
			}
		}
		_ = l.Unlock()
	}
	b.Run("list", func(b *testing.B) {
		for b.Loop() {
			if l, err := s.List(b.Context()); err != nil || len(l) != 1000 {
				b.Fatal(len(l), err)
			}
		}
	})
	b.Run("name", func(b *testing.B) {
		for b.Loop() {
			if _, err := s.Get(b.Context(), "name500"); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("prefix", func(b *testing.B) {
		sum, _ := s.List(b.Context())
		for b.Loop() {
			if _, err := s.Get(b.Context(), string(sum[7].ID[:12])); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkCreateRemove(b *testing.B) {
	for _, remove := range []bool{true, false} {
		b.Run(fmt.Sprintf("rm=%v", remove), func(b *testing.B) {
			s := open(b, b.TempDir())
			for b.Loop() {
				l, err := s.Create(b.Context(), &Record{Config: config.Config{Life: config.Life{Remove: remove}}})
				if err != nil {
					b.Fatal(err)
				}
				if err := l.Remove(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
