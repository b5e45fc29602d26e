package process

import (
	"bytes"
	"encoding/json"
	"fmt"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"berth/runtime/hook"
	"berth/runtime/initproc"
	"berth/runtime/plan"
)

// Hooks plans hooks that run inside the container's namespaces. kind is the
// spec's word, for errors: createContainer or startContainer. The pid in the
// state is filled in by the helper, as its pid namespace numbers it.
func Hooks(b *plan.Builder, kind string, list []specs.Hook, state specs.State) error {
	if len(list) == 0 {
		return nil
	}
	step := &initproc.Hooks{Kind: kind}
	for i := range list {
		h, err := hook.Translate(kind, i, &list[i])
		if err != nil {
			return err
		}
		step.List = append(step.List, *h)
	}
	state.Pid = 0 // left out by its JSON tag
	text, err := json.Marshal(&state)
	if err != nil || !bytes.HasPrefix(text, []byte(`{"`)) {
		return fmt.Errorf("encode the state for %s hooks: %w", kind, err)
	}
	step.Head = []byte(`{"pid":`)
	step.Tail = append([]byte(","), text[1:]...)
	b.Add(step)
	return nil
}
