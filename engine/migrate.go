package engine

import (
	"context"

	"berth/base/fault"
)

// Migrate gives the files of images and containers their owners, which were notes as long
// as the user had one id, and tells how many there were. Error: Conflict while a container
// runs, Unsupported while there is still one id.
func Migrate(ctx context.Context, e *Engine) (files int, err error) {
	if !e.Writables.OneID() {
		return 0, nil
	}
	more, err := moreIDs(e)
	if err != nil {
		return 0, err
	}
	if !more {
		return 0, fault.New(fault.Unsupported, "migrate: %s", hasOneID)
	}
	all, err := e.Containers.List(ctx)
	if err != nil {
		return 0, err
	}
	for i := range all {
		if f, err := e.Containers.Facts(ctx, all[i].ID); err == nil && f.State().Live() {
			return 0, fault.New(fault.Conflict, "migrate: container %s runs: stop it first", all[i].Name)
		}
	}
	return e.Writables.Migrate(ctx)
}

const hasOneID = "the user has no subordinate ids, see subuid(5) and subgid(5); with a container that runs, those that came meanwhile count once it has ended"

// moreIDs reports whether it is an ordinary user's engine, and the user has more ids than one.
func moreIDs(e *Engine) (bool, error) {
	if e.Defaults.Person == nil {
		return false, nil
	}
	p, err := e.Defaults.Person()
	if err != nil {
		return false, err
	}
	uids, gids := p.IDs()
	return uids > 1 && gids > 1, nil
}

// tellOneID says once a create that the images are of the time when the user had one id.
func tellOneID(e *Engine, warn func(string)) error {
	if warn == nil || !e.Defaults.Rootless || !e.Writables.OneID() {
		return nil
	}
	more, err := moreIDs(e)
	if more {
		warn("the images here were unpacked when you had one id, and all their files are yours: berth system migrate gives them their owners")
	}
	return err
}
