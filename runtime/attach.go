package runtime

import (
	"fmt"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"berth/base/fault"
	"berth/runtime/console"
	"berth/runtime/plan"
)

// attached is the hold that the caller has on the process.
type attached struct {
	waits    bool          // the process is a created one, which waits for start
	detach   bool          // the caller leaves a process that runs
	passes   bool          // the terminal is passed to the caller of one that is left
	terminal *console.Pair // set for a process with a terminal that nobody else takes
}

// receiver says who receives the terminal's master: the console socket, or the
// caller. nil without a terminal.
func (a *attached) receiver(p *specs.Process, socket string) (plan.Opener, error) {
	left := a.waits || a.detach
	switch {
	case !p.Terminal && socket != "":
		return nil, fault.New(fault.Invalid, "cannot use console socket if the process has no terminal")
	case !p.Terminal:
		return nil, nil
	case left && !a.passes && socket == "":
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

// process describes the child to a caller that leaves it.
func (a *attached) process(ch *child) (*Process, error) {
	master, err := a.terminal.Receive()
	if err != nil {
		return nil, err
	}
	return &Process{PID: ch.pid, Console: master}, nil
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
