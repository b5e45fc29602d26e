package runtime

import "strings"

// environment returns env with the last value of each name, in the order of
// first mention: a program takes the first that it finds, engines append what
// overrides. An empty HOME is left out, as the helper then finds the user's.
func environment(env []string) []string {
	at := make(map[string]int, len(env))
	out := make([]string, 0, len(env))
	for _, e := range env {
		name, value, _ := strings.Cut(e, "=")
		if i, seen := at[name]; seen {
			out[i] = e
			continue
		}
		if name == "HOME" && value == "" {
			continue
		}
		at[name] = len(out)
		out = append(out, e)
	}
	return out
}
