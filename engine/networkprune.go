package engine

import (
	"context"
	"time"

	"berth/base/fault"
)

// NetworkPrune removes the networks that people made and no container is to be on,
// whether it runs or not, and names them. Filters: label, label!, until.
func NetworkPrune(ctx context.Context, e *Engine, filters map[string][]string) ([]string, error) {
	if err := checkNetworkFilters(filters, "label", "label!", "until"); err != nil {
		return nil, err
	}
	labels := map[string][]string{"label": filters["label"], "label!": filters["label!"]}
	before := time.Now()
	if v := filters["until"]; len(v) > 0 {
		at, err := UntilTime(v[0])
		if err != nil {
			return nil, err
		}
		before = at
	}
	if err := finishRewiring(ctx, e); err != nil {
		return nil, err
	}
	all, err := networkInfos(ctx, e)
	if err != nil {
		return nil, err
	}
	var names []string
	for i := range all {
		n := &all[i]
		if n.builtIn() || len(n.Users) > 0 || n.Created.After(before) || !networkFits(n, labels) {
			continue
		}
		err := removeNetwork(ctx, e, &n.Network)
		if fault.Is(err, fault.NotFound) || fault.Is(err, fault.Conflict) { // removed, or used meanwhile
			continue
		}
		if err != nil {
			return names, err
		}
		names = append(names, n.Name)
	}
	e.tellOf("network", "prune", "", map[string]string{"reclaimed": "0"})
	return names, nil
}
