package term

import (
	"io"
	"text/tabwriter"
)

// Style is how wide a column is at least and what stands between two.
type Style struct{ Min, Tab, Pad int }

// The tables of the two dialects.
var (
	DockerStyle = Style{Min: 10, Tab: 1, Pad: 3}
	PodmanStyle = Style{Min: 12, Tab: 2, Pad: 2}
)

// Table lines up cells that are parted by tabs; call Flush at its end.
func Table(w io.Writer, s Style) *tabwriter.Writer {
	return tabwriter.NewWriter(w, s.Min, s.Tab, s.Pad, ' ', 0)
}
