package term

import (
	"fmt"
	"io"
	"strings"
	"time"

	units "github.com/docker/go-units"
)

// Lines shows one line for each thing under way. On a terminal every line is
// redrawn in its place, elsewhere each new state is a line of its own and the
// numbers in between are left out, both as docker does it.
type Lines struct {
	out   io.Writer
	width int            // 0: no terminal
	row   map[string]int // of an id, counted from the top
	last  map[string]string
	drawn map[string]time.Time
	now   func() time.Time
}

// redraw is the least time between two drawings of one line's numbers.
const redraw = 100 * time.Millisecond

// NewLines makes an empty block of lines; width is 0 if out is no terminal.
func NewLines(out io.Writer, width int) *Lines {
	l := &Lines{out: out, width: width, now: time.Now}
	l.Reset()
	return l
}

// Reset begins a new block of lines below what was written so far.
func (l *Lines) Reset() {
	l.row, l.last, l.drawn = map[string]int{}, map[string]string{}, map[string]time.Time{}
}

// Text writes a line that stays; the block of lines ends before it.
func (l *Lines) Text(format string, args ...any) {
	l.Reset()
	fmt.Fprintln(l.out, Clean(fmt.Sprintf(format, args...)))
}

// State tells a new state of one thing, without numbers.
func (l *Lines) State(id, state string) {
	if l.last[id] == state {
		return
	}
	l.last[id] = state
	delete(l.drawn, id)
	if l.width == 0 {
		fmt.Fprintf(l.out, "%s: %s\n", Clean(id), Clean(state))
		return
	}
	l.draw(id, Clean(state)+" ")
}

// Amount tells how far one thing is, in bytes; total 0 is unknown. Only a
// terminal sees it.
func (l *Lines) Amount(id, state string, current, total int64) {
	now := l.now()
	if l.width == 0 || l.last[id] == state && now.Sub(l.drawn[id]) < redraw && current != total {
		return
	}
	l.last[id], l.drawn[id] = state, now
	l.draw(id, Clean(state)+"  "+bar(current, total, l.width))
}

func (l *Lines) draw(id, text string) {
	row, ok := l.row[id]
	if !ok {
		row = len(l.row)
		l.row[id] = row
		fmt.Fprint(l.out, "\n")
	}
	up := len(l.row) - row
	fmt.Fprintf(l.out, "\x1b[%dA\x1b[2K\r%s\r\x1b[%dB", up, cut(Clean(id)+": "+text, l.width), up)
}

// cut keeps a line from running into the next, which would shift all others.
func cut(line string, width int) string {
	if r := []rune(line); len(r) > width {
		return string(r[:width])
	}
	return line
}

// barWidth is the number of columns inside the brackets.
const barWidth = 50

// bar is docker's: a box if the terminal has room for it, then the numbers.
func bar(current, total int64, width int) string {
	done := units.HumanSize(float64(current))
	if total <= 0 || current > total {
		return fmt.Sprintf("%8v", done)
	}
	text := fmt.Sprintf("%8v/%v", done, units.HumanSize(float64(total)))
	if width > 110 {
		n := min(barWidth, int(current*barWidth/total))
		text = "[" + strings.Repeat("=", n) + ">" + strings.Repeat(" ", barWidth-n) + "] " + text
	}
	return text
}

// Terminal reports whether lines are redrawn in their places.
func (l *Lines) Terminal() bool { return l.width > 0 }
