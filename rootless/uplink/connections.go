package uplink

import (
	"sync"

	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// share is what connections may hold of the stack's memory, each way; what is under way in
// the host's sockets is the kernel's. All together: 64 MiB, 112 MiB and 224 MiB.
type share struct {
	most   int // connections, at once
	buffer int // bytes
}

// The way from the stack to the namespace is so short that the least share carries some
// gigabits.
var shares = [...]share{{64, 1 << 20}, {448, 256 << 10}, {maxTCP, 64 << 10}}

// connections counts those of TCP.
type connections struct {
	mu    sync.Mutex
	most  int
	count int
	taken [len(shares)]int
	// asking are those that are dialed, with the sequence number of their SYN.
	asking map[stack.TransportEndpointID]uint32
}

func (c *connections) init() { c.asking = map[stack.TransportEndpointID]uint32{} }

// ask begins one; false if it is being dialed, or is one too many: its SYN will come again.
func (c *connections) ask(id stack.TransportEndpointID, seq uint32) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, there := c.asking[id]; there || c.count >= c.most {
		return false
	}
	c.asking[id] = seq
	c.count++
	return true
}

// seq is the sequence number of one that is being dialed.
func (c *connections) seq(id stack.TransportEndpointID) uint32 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.asking[id]
}

// asked: the SYN was answered, or is not going to be; the next one is another connection's.
func (c *connections) asked(id stack.TransportEndpointID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.asking, id)
}

// end forgets one that began.
func (c *connections) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.count--
}

// share takes the largest share that is left, which back returns.
func (c *connections) share() (size int, back func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	i := 0
	for i < len(shares)-1 && c.taken[i] >= shares[i].most {
		i++
	}
	c.taken[i]++
	return shares[i].buffer, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.taken[i]--
	}
}
