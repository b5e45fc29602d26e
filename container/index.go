package container

import (
	"io/fs"
	"os"
	"path/filepath"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"berth/base/codec"
	"berth/sys/stamp"
)

// index is RUN/containers.index: what a list has read of kept containers, with
// the stamps of their folders, so that the next list looks at each folder and
// reads one file in place of three a container.
type index map[ID]*indexed

// indexed is one container. A file in a folder is only ever replaced as a whole,
// which changes the folder's stamp.
type indexed struct {
	home, run stamp.Stamp // run is zero if the folder is not there
	sum       Summary
	life      life // without what facts do not tell
	looked
}

// looked is what else was seen while the folders had these stamps.
type looked struct {
	finished bool // nothing is left to do of its create
	running  bool // no exit was there
}

func (s *disk) index() *stamp.Cache {
	return &stamp.Cache{Path: filepath.Join(s.opts.Run, "containers.index"), Form: "containers 4\n", Max: 64 << 20}
}

// readIndex is empty if there is none, or a broken one.
func readIndex(s *disk) index {
	var all []indexed
	if !s.index().Read(func(c *codec.Coder) { codec.List(c, &all, codeIndexed) }) {
		return nil
	}
	x := make(index, len(all))
	for i := range all {
		x[all[i].sum.ID] = &all[i]
	}
	return x
}

// writeIndex keeps what has stamps; a full run folder is no reason to fail a list.
func writeIndex(s *disk, all []*indexed) {
	var kept []indexed
	for _, one := range all {
		if one != nil && one.home != (stamp.Stamp{}) {
			kept = append(kept, *one)
		}
	}
	if err := s.index().Write(func(c *codec.Coder) { codec.List(c, &kept, codeIndexed) }); err != nil {
		s.opts.Warn(err)
	}
}

func codeIndexed(c *codec.Coder, x *indexed) {
	x.home.Code(c)
	x.run.Code(c)
	x.sum.code(c)
	l := &x.life
	codec.Optional(c, &l.Started, codeStarted)
	codec.Optional(c, &l.Exit, func(c *codec.Coder, e *Exit) {
		c.Int(&e.Code)
		c.Int(&e.Signal)
		c.Bool(&e.OOM)
		c.Time(&e.Time)
		c.Str(&e.Error)
	})
	codec.Optional(c, &l.Restarting, func(c *codec.Coder, r *Restarting) {
		c.Time(&r.At)
		c.I64((*int64)(&r.Delay))
	})
	codec.Optional(c, &l.Health, func(c *codec.Coder, h *HealthFact) {
		c.Str(&h.Status)
		c.Int(&h.Failing)
	})
	for _, b := range []*bool{&l.Paused, &l.Stopped, &l.Removing, &l.RemovingVolumes, &l.Shutdown} {
		c.Bool(b)
	}
	codec.Optional(c, &l.PausedBy, codeProcess)
	codec.Optional(c, &l.HeldBy, codeProcess)
	c.Int(&l.Restarts)
	c.Bool(&x.finished)
	c.Bool(&x.running)
}

func codeProcess(c *codec.Coder, p *Process) {
	c.Int(&p.PID)
	c.U64(&p.StartTime)
}

func codeStarted(c *codec.Coder, s *Started) {
	codeProcess(c, &s.Process)
	codeProcess(c, &s.Monitor)
	c.Str(&s.BootID)
	c.Time(&s.At)
	c.Bool(&s.Waits)
	c.Str(&s.AppArmor)
	codec.List(c, &s.Addresses, func(c *codec.Coder, a *Address) {
		for _, text := range []*string{&a.Network, &a.IPv4, &a.IPv6, &a.MAC, &a.Gateway} {
			c.Str(text)
		}
	})
	codec.List(c, &s.Ports, codePort)
	codec.Optional(c, &s.Range, func(c *codec.Coder, r *Range) {
		c.U32(&r.First)
		for _, ids := range []*[]specs.LinuxIDMapping{&r.UIDs, &r.GIDs} {
			codec.List(c, ids, func(c *codec.Coder, m *specs.LinuxIDMapping) {
				for _, n := range []*uint32{&m.ContainerID, &m.HostID, &m.Size} {
					c.U32(n)
				}
			})
		}
	})
}

// folders are those of kept containers and of what runs, for stamps.
type folders struct{ home, run *os.File }

func openFolders(s *disk) (*folders, error) {
	home, err := os.Open(s.kept())
	if err != nil {
		return nil, err
	}
	run, err := os.Open(s.running())
	if err != nil {
		home.Close()
		return nil, err
	}
	return &folders{home, run}, nil
}

func (f *folders) close() {
	f.home.Close()
	f.run.Close()
}

// look stamps a container's folders; the zero Stamps if a change just now could
// leave no trace.
func (f *folders) look(id ID, ran bool) (home, run stamp.Stamp) {
	now := time.Now()
	home, err := stamp.At(int(f.home.Fd()), string(id))
	if err == nil && ran {
		if run, err = stamp.At(int(f.run.Fd()), string(id)); err == nil && !run.Settled(now) {
			err = fs.ErrInvalid
		}
	}
	if err != nil || !home.Settled(now) {
		return stamp.Stamp{}, stamp.Stamp{}
	}
	return home, run
}
