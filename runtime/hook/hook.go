// Package hook runs OCI hooks in the runtime's namespaces: prestart,
// createRuntime, poststart and poststop. Those of the container's namespaces
// are steps of package initproc, which also has the code that runs one.
//
// A hook gets exactly the arguments and the environment of the configuration,
// no search path, and the state on its standard input. Its working directory
// is the bundle, which belongs to the engine: the specification is silent, and
// hooks written for runc expect it. Hooks that run before pivot_root inside the
// container's mount namespace start in / instead, never in a folder that an
// image fills. Row 2.
package hook

//lint:file-ignore SA1019 prestart hooks are deprecated, and engines still give them

import (
	"context"
	"encoding/json"
	"fmt"
	"path"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"berth/base/fault"
	"berth/runtime/initproc"
)

// maxSeconds bounds a hook's timeout to what a duration holds.
const maxSeconds = 1 << 30

// Run runs hooks in order with state on their standard input; the first that
// fails ends it. kind is the spec's word (poststop), for errors, which also
// carry what the hook wrote. Ending ctx kills the running hook.
func Run(ctx context.Context, kind string, list []specs.Hook, state *specs.State) error {
	if len(list) == 0 {
		return nil
	}
	text, err := json.Marshal(state)
	if err != nil {
		return fmt.Errorf("encode the state for %s hooks: %w", kind, err)
	}
	dir := state.Bundle
	if dir == "" {
		dir = "/"
	}
	for i := range list {
		h, err := Translate(kind, i, &list[i])
		if err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("run hooks.%s[%d] (%s): %w", kind, i, h.Path, err)
		}
		if err := initproc.RunHook(h, text, dir, ctx.Done()); err != nil {
			return fmt.Errorf("run hooks.%s[%d] (%s): %w", kind, i, h.Path, err)
		}
	}
	return nil
}

// RunAll runs hooks like Run, but goes on after a failure: what the
// specification asks for poststop. Failures go to warn.
func RunAll(ctx context.Context, kind string, list []specs.Hook, state *specs.State, warn func(format string, args ...any)) {
	for i := range list {
		if err := Run(ctx, kind, list[i:i+1], state); err != nil {
			warn("%v", err)
		}
	}
}

// Check refuses hooks that could not be run, with kind Invalid and the field's
// name.
func Check(hooks *specs.Hooks) error {
	if hooks == nil {
		return nil
	}
	for _, k := range []struct {
		kind string
		list []specs.Hook
	}{
		//lint:ignore SA1019 deprecated, and still used, for instance by NVIDIA's toolkit
		{"prestart", hooks.Prestart},
		{"createRuntime", hooks.CreateRuntime}, {"createContainer", hooks.CreateContainer},
		{"startContainer", hooks.StartContainer}, {"poststart", hooks.Poststart}, {"poststop", hooks.Poststop},
	} {
		for i := range k.list {
			if _, err := Translate(k.kind, i, &k.list[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

// Translate checks hook i of a kind and gives it the helper's form.
func Translate(kind string, i int, h *specs.Hook) (*initproc.Hook, error) {
	field := fmt.Sprintf("hooks.%s[%d]", kind, i)
	if !path.IsAbs(h.Path) || strings.ContainsRune(h.Path, 0) {
		return nil, fault.New(fault.Invalid, "%s.path: %.64q is not an absolute path", field, h.Path)
	}
	for j, a := range h.Args {
		if strings.ContainsRune(a, 0) {
			return nil, fault.New(fault.Invalid, "%s.args[%d]: has a NUL byte", field, j)
		}
	}
	for j, e := range h.Env {
		if strings.ContainsRune(e, 0) {
			return nil, fault.New(fault.Invalid, "%s.env[%d]: has a NUL byte", field, j)
		}
	}
	out := &initproc.Hook{Path: h.Path, Args: h.Args, Env: h.Env}
	if h.Timeout != nil {
		if *h.Timeout <= 0 || *h.Timeout > maxSeconds {
			return nil, fault.New(fault.Invalid, "%s.timeout: %d is not a positive number of seconds", field, *h.Timeout)
		}
		out.Seconds = *h.Timeout
	}
	return out, nil
}
