package unpack

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"

	"berth/sys/fdpass"
)

// Processes that a layer has taken over: they hold what the real ones hold, are
// confined as they are, and lie.
const (
	lyingReader = "lying-reader"
	lyingMaker  = "lying-maker"
)

// lie is the life of one; TestMain calls it.
func lie(role string) int {
	_ = unix.SetNonblock(controlFD, false)
	control := os.NewFile(controlFD, "control")
	confined := confineReader
	if role == lyingMaker {
		confined = confineMaker
	}
	if err := confined(); err != nil {
		_ = write(control, &reply{Fail: toWire(err)})
		return 1
	}
	_ = write(control, &reply{})
	var all forger
	for {
		text, fds, err := fdpass.Receive(controlFD, 4)
		if err != nil {
			return 0
		}
		var o order
		_ = json.Unmarshal(text, &o)
		if role == lyingMaker {
			go all.layer(&o, [4]int(fds))
		} else {
			go forgedStream([4]int(fds))
		}
	}
}

// forgery is a tar that no layer holds.
func forgery() []byte { return makeTar(nil, file("forged", "x")) }

// forgedStream answers every stream with the same tar, and with a digest that
// the caller would like to hear.
func forgedStream(fds [4]int) {
	peer := newPeer(fds[3])
	e, _ := openRing(fds[1], fds[2], true)
	to := ringWriter{ringEnd: e}
	buf, _ := to.empty()
	_ = to.send(copy(buf, forgery()))
	in := waitable(fds[0], "source")
	_, _ = in.WriteTo(new(bytes.Buffer)) // the caller must have fed all
	e.sock.Close()
	peer.tell(&Result{DiffID: digest.FromBytes(makeTar(nil, file("real", "x")))}, nil)
}

// forger writes to all folders that it ever got.
type forger struct {
	mu   sync.Mutex
	dirs []int
}

func (f *forger) layer(o *order, fds [4]int) {
	peer := newPeer(fds[3])
	e, _ := openRing(fds[1], fds[2], false)
	go peer.listen(func() {})
	r := ringReader{ringEnd: e}
	kept, _ := unix.Dup(fds[0])
	res, err := extract(o, fds[0], &r, peer)
	f.mu.Lock()
	f.dirs = append(f.dirs, kept)
	for i, dir := range f.dirs {
		fd, err := unix.Openat(dir, "forged", unix.O_WRONLY|unix.O_CREAT|unix.O_CLOEXEC, 0o644)
		if err == nil {
			_, _ = unix.Write(fd, fmt.Appendf(nil, "by layer %d in layer %d", len(f.dirs)-1, i))
			unix.Close(fd)
		}
	}
	f.mu.Unlock()
	peer.tell(res, err)
}

// liar is a worker whose processes of one role lie.
func liar(t *testing.T, role string) *Worker {
	t.Helper()
	w := startWorker(t, usual())
	start := func() *process {
		p, err := startProcess(context.Background(), role, w.uids, w.gids)
		must(t, err)
		w.all[p] = true
		return p
	}
	if role == lyingReader {
		p := start()
		w.reader = func() (*process, error) { return p, nil }
	} else {
		w.spare.kill()
		w.spare = start()
	}
	return w
}

// Whatever a reader gives and says, the diff id is that of the bytes that became
// files: a layer cannot pass for another one.
func TestLyingReader(t *testing.T) {
	real := makeTar(t, file("real", "x"))
	for name, c := range map[string]struct {
		w      *Worker
		digest digest.Digest
		file   string
	}{
		"a lying reader":        {liar(t, lyingReader), digest.FromBytes(forgery()), "forged"},
		"control: a honest one": {startWorker(t, usual()), digest.FromBytes(real), "real"},
	} {
		d := layerDir(t)
		res, err := c.w.Layer(context.Background(), Job{Dir: d, Source: bytes.NewReader(compress(t, Gzip, real)), Parents: noParents})
		if err != nil || res.DiffID != c.digest {
			t.Errorf("%s: diff id %s, %v; wanted %s", name, res.DiffID, err, c.digest)
		}
		stat(t, d, c.file)
	}
}

// A maker that a layer has taken over reaches no other layer. The control is
// that it reaches those that share it: they are small.
func TestLyingMaker(t *testing.T) {
	hostile, victim := makeTar(t, file("hostile", "x")), makeTar(t, file("victim", strings.Repeat("x", SmallLayer)))
	for name, c := range map[string]struct {
		victim int64 // the size that the caller knows
		forged bool
	}{
		"a layer of its own process":      {int64(len(victim)), false},
		"a layer of unknown size":         {0, false},
		"control: a layer that shares it": {SmallLayer, true},
	} {
		t.Run(name, func(t *testing.T) {
			w := liar(t, lyingMaker)
			first, second := layerDir(t), layerDir(t)
			// The small one takes the lying process, which then keeps its folder.
			_, err := w.Layer(context.Background(), Job{Dir: first, Source: bytes.NewReader(hostile), Size: int64(len(hostile)), Parents: noParents})
			must(t, err)
			res, err := w.Layer(context.Background(), Job{Dir: second, Source: bytes.NewReader(victim), Size: c.victim, Parents: noParents})
			must(t, err)
			if res.DiffID != digest.FromBytes(victim) {
				t.Errorf("diff id %s", res.DiffID)
			}
			if _, err := os.Stat(filepath.Join(first.Name(), "forged")); err != nil {
				t.Errorf("the liar did nothing: %v", err)
			}
			if _, err := os.Stat(filepath.Join(second.Name(), "forged")); (err == nil) != c.forged {
				t.Errorf("the other layer: %v", err)
			}
		})
	}
}

// A maker that has a layer of its own is no more when the layer has ended.
func TestMakerEnds(t *testing.T) {
	w := startWorker(t, usual())
	pid := w.PID()
	mustUnpack(t, w, makeTar(t, file("f", "x")))
	if err := unix.Kill(pid, 0); err != unix.ESRCH {
		t.Errorf("the maker %d is still there: %v", pid, err)
	}
}
