package containers

import (
	"berth/cli/docker/command"
	"berth/engine"
)

// UsageRows are containers as system df -v shows them: with their own size
// alone. whole leaves ids and texts uncut.
func UsageRows(c *command.Call, all []engine.ContainerUsage, whole bool) []Row {
	v := &List{noTrunc: whole}
	rows := make([]Row, 0, len(all))
	for i := range all {
		s := summaryOf(&all[i].Summary)
		s.Size = all[i].Own
		rows = append(rows, v.row(c, &s))
	}
	return rows
}
