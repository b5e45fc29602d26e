package attack

import "strings"

// parseGuards reads lines "tag TestAttacks/name", # starting a remark.
func parseGuards(text string) map[string]map[string]bool {
	all := map[string]map[string]bool{}
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		f := strings.Fields(line)
		if len(f) != 2 {
			continue
		}
		if all[f[0]] == nil {
			all[f[0]] = map[string]bool{}
		}
		all[f[0]][strings.TrimPrefix(f[1], "TestAttacks/")] = true
	}
	return all
}
