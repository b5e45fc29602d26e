package runtime

import (
	"fmt"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"berth/base/fault"
	"berth/runtime/console"
	"berth/runtime/plan"
)

// attached is the hold that the caller of run or exec has on the process: nil
// for a created one, which waits for start and has nobody.
type attached struct {
	detach   bool
	terminal *console.Pair // set for an attached process with a terminal
}

// receiver says who receives the terminal's master: the console socket, or the
// caller that stays attached. nil without a terminal.
func (a *attached) receiver(p *specs.Process, socket string) (plan.Opener, error) {
	left := a == nil || a.detach
	switch {
	case !p.Terminal && socket != "":
		return nil, fault.New(fault.Invalid, "cannot use console socket if the process has no terminal")
	case !p.Terminal:
		return nil, nil
	case left && socket == "":
		return nil, fault.New(fault.Invalid, "cannot allocate tty if the runtime will detach without setting console socket")
	case socket != "" && !left:
		return nil, fault.New(fault.Invalid, "cannot use console socket if the runtime will not detach")
	case socket != "":
		return console.Socket(socket), nil
	}
	pair, err := console.NewPair()
	if err != nil {
		return nil, err
	}
	a.terminal = pair
	return pair.Open, nil
}

// wait follows the process until it has ended: it relays the terminal, passes
// signals on, and returns the exit code.
func (a *attached) wait(ch *child, s *signals) (int, error) {
	relay, err := a.terminal.Start(s.resize)
	if err != nil {
		return -1, err
	}
	ws, err := s.wait(ch)
	if relay != nil {
		relay.Close()
	}
	if err != nil {
		return -1, fmt.Errorf("wait for the process: %w", err)
	}
	ch.pid = 0
	return exitCode(ws), nil
}

func (a *attached) close() { a.terminal.Close() }
