package term

import (
	"fmt"
	"os"

	"golang.org/x/term"
)

// Raw makes a terminal pass every key on as it is, without echo; restore gives
// it back its old settings and may be called more than once. For a stream that
// is no terminal both do nothing.
func Raw(stream any) (restore func(), err error) {
	f, ok := terminal(stream)
	if !ok {
		return func() {}, nil
	}
	old, err := term.MakeRaw(int(f.Fd()))
	if err != nil {
		return nil, fmt.Errorf("set the terminal to raw mode: %w", err)
	}
	return func() { _ = term.Restore(int(f.Fd()), old) }, nil
}

// Size is the terminal's height and width in cells, 0 if it is none.
func Size(stream any) (height, width uint16) {
	f, ok := terminal(stream)
	if !ok {
		return 0, 0
	}
	w, h, err := term.GetSize(int(f.Fd()))
	if err != nil || w < 0 || h < 0 || w > 0xffff || h > 0xffff {
		return 0, 0
	}
	return uint16(h), uint16(w)
}

func terminal(stream any) (*os.File, bool) {
	f, ok := stream.(*os.File)
	return f, ok && term.IsTerminal(int(f.Fd()))
}
