package initproc

import (
	"strconv"
)

// Hook is a program to run at a point of the container's life. It gets exactly
// Args and Env: nothing of ours, nothing of the image's (security class V14).
type Hook struct {
	Path    string
	Args    []string // from argv[0] on; Path alone if empty
	Env     []string
	Seconds int // 0: no limit of time
}

// Hooks runs hooks inside the container's namespaces. createContainer hooks
// come before pivot_root: their paths are the host's. startContainer hooks come
// after it: their paths are the container's. Both start in /, which no image
// controls before pivot_root.
type Hooks struct {
	Kind string // the spec's word, for error texts
	List []Hook
	// The state that hooks read is Head, the pid of this process in its own pid
	// namespace, then Tail.
	Head, Tail []byte
}

func (s *Hooks) Name() string { return "run " + s.Kind + " hooks" }
func (s *Hooks) op() op       { return opHooks }
func (s *Hooks) wire(c *coder) {
	c.str(&s.Kind)
	list(c, &s.List, func(c *coder, h *Hook) {
		c.str(&h.Path)
		c.strs(&h.Args)
		c.strs(&h.Env)
		c.int(&h.Seconds)
	})
	c.bytes(&s.Head)
	c.bytes(&s.Tail)
}

func (s *Hooks) do(*process) error {
	state := append([]byte(nil), s.Head...)
	state = strconv.AppendInt(state, int64(getpid()), 10)
	state = append(state, s.Tail...)
	for i := range s.List {
		if err := RunHook(&s.List[i], state, "/", nil); err != nil {
			return fail("hook "+strconv.Itoa(i)+" ("+s.List[i].Path+")", err)
		}
	}
	return nil
}
