package oci

import (
	"context"
	"encoding/json"
	"io"
	"time"

	"berth/cli/oci/cmdline"
	"berth/runtime"
)

var stateVerb = verb{
	name: "state", summary: "print the state of a container", args: "CONTAINER", min: 1, max: 1,
	about: "Prints the state as JSON, in the form of the runtime specification and what runc adds to it.",
	new:   func() command { return new(stateCommand) },
}

// stateJSON is what runc prints for a container: fields and their order.
type stateJSON struct {
	Version     string            `json:"ociVersion"`
	ID          string            `json:"id"`
	PID         int               `json:"pid"`
	Status      string            `json:"status"`
	Bundle      string            `json:"bundle"`
	Rootfs      string            `json:"rootfs"`
	Created     time.Time         `json:"created"`
	Annotations map[string]string `json:"annotations,omitempty"`
	Owner       string            `json:"owner"`
}

func newStateJSON(s *runtime.State) stateJSON {
	return stateJSON{
		Version: s.Version, ID: s.ID, PID: s.Pid, Status: string(s.Status), Bundle: s.Bundle,
		Rootfs: s.Rootfs, Created: s.Created, Annotations: s.Annotations, Owner: s.Owner,
	}
}

type stateCommand struct{}

func (c *stateCommand) flags(*cmdline.Set) {}

func (c *stateCommand) run(_ context.Context, in *call) (int, error) {
	s, err := in.rt.State(in.words[0])
	if err != nil {
		return 0, err
	}
	return 0, writeIndented(in.stdout, newStateJSON(s), "  ")
}

// writeIndented writes v as JSON for people.
func writeIndented(w io.Writer, v any, indent string) error {
	b, err := json.MarshalIndent(v, "", indent)
	if err != nil {
		return err
	}
	_, err = w.Write(append(b, '\n'))
	return err
}
