package images

import (
	"context"
	"errors"
	"fmt"
	"runtime"

	"github.com/spf13/pflag"

	"berth/cli/docker/command"
	"berth/engine"
	"berth/image"
)

// Pull is pull.
type Pull struct {
	all, quiet, noTrust bool
	policy              string
	platform            command.Platform
	access              command.Access
}

func (v *Pull) Flags(f *pflag.FlagSet) {
	f.BoolVarP(&v.all, "all-tags", "a", false, "Download all tagged images in the repository")
	f.BoolVar(&v.noTrust, "disable-content-trust", true, "Skip image verification")
	f.BoolVarP(&v.quiet, "quiet", "q", false, "Suppress verbose output")
	f.StringVar(&v.policy, "policy", string(image.PullAlways), "When to ask the registry (always, missing, never, newer)")
	v.platform.Flags(f, "Set platform if server is multi-platform capable")
	v.access.Flags(f)
	v.access.RetryFlags(f)
	command.Extra(f, "policy")
}

// request is one name's request; it has no effects.
func (v *Pull) request(typed string) (engine.PullRequest, error) {
	if !v.noTrust {
		return engine.PullRequest{}, command.ErrContentTrust
	}
	if v.all && hasTag(typed) {
		return engine.PullRequest{}, errors.New("tag can't be used with --all-tags/-a")
	}
	policy := image.Policy(v.policy)
	switch policy {
	case image.PullAlways, image.PullMissing, image.PullNever, image.PullNewer:
	default:
		return engine.PullRequest{}, fmt.Errorf("unsupported pull policy %q", v.policy)
	}
	platform, err := v.platform.Value(runtime.GOARCH)
	if err != nil {
		return engine.PullRequest{}, err
	}
	access, err := v.access.Value()
	return engine.PullRequest{
		PullRequest: image.PullRequest{Name: typed, AllTags: v.all, Policy: policy, Platform: platform, Access: access},
	}, err
}

func (v *Pull) Run(ctx context.Context, c *command.Call, words []string) error {
	type one struct {
		r  engine.PullRequest
		at *place
	}
	var all []one
	for _, w := range words {
		name, at, err := transport(c, w)
		if err != nil {
			return err
		}
		o := one{at: at}
		if at == nil {
			if o.r, err = v.request(name); err != nil {
				return err
			}
		}
		all = append(all, o)
	}
	e, err := c.Open()
	if err != nil {
		return err
	}
	for _, o := range all {
		if o.at != nil {
			if err := o.at.pull(ctx, c, e, v); err != nil {
				return err
			}
			continue
		}
		r := o.r
		view := newPullView(c, e, r, v.quiet)
		if err := view.begin(); err != nil {
			return err
		}
		r.Named, r.Progress = view.named, view.progress
		pulled, err := engine.Pull(ctx, e, r)
		if err != nil {
			return view.fail(err)
		}
		view.end(pulled)
	}
	return nil
}
