package files

import "berth/base/fault"

// What a visit's process is asked for, and what it answers: JSON, one after the
// other on its socket. A tar goes over the other one.
const (
	opStat   = "stat"
	opRead   = "read"
	opPack   = "pack"
	opUnpack = "unpack"
)

// Names are bytes, which JSON strings are not.
type order struct {
	Op   string `json:"op"`
	Path []byte `json:"path"`
	// Bare packs what is in a folder, as a layer's tar names it.
	Bare     bool     `json:"bare,omitempty"`
	Options  *Options `json:"options,omitempty"` // for unpack
	From, To []byte   // of the options
}

type reply struct {
	Stat       *Stat   `json:"stat,omitempty"`
	Name, Link []byte  // of the stat
	Made       *Made   `json:"made,omitempty"`
	Text       []byte  `json:"text,omitempty"`
	Fail       *failed `json:"fail,omitempty"`
}

// failed is an error on its way.
type failed struct {
	Kind fault.Kind `json:"kind"`
	Text string     `json:"text"`
}

func failure(err error) *failed { return &failed{Kind: fault.KindOf(err), Text: err.Error()} }

func (f *failed) err() error { return fault.New(f.Kind, "%s", oneLine(f.Text)) }

// oneLine takes what the other side says as text that may be shown.
func oneLine(s string) string {
	out := make([]rune, 0, len(s))
	for _, r := range s {
		if r < ' ' || r == 0x7f {
			r = '?'
		}
		out = append(out, r)
		if len(out) > 4096 {
			break
		}
	}
	return string(out)
}
