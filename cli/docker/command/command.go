// Package command is the frame that docker's and podman's verbs stand in: the
// table of verbs, reading a command line, help in docker's layout, errors and
// exit codes in each dialect. It knows no verb; the rooms beside it are the
// verbs, the door above puts them into one table. Row 6.
package command

import (
	"context"
	"io"
	"time"

	"github.com/spf13/pflag"

	"berth/engine"
	"berth/settings"
)

// Dialect is whose words are spoken.
type Dialect int

const (
	// Berth is docker's words, with podman's verbs and flags beside them.
	Berth Dialect = iota
	Docker
	Podman
)

// Many is the Max of verbs that take any number of words.
const Many = 1 << 30

// Count is how many words a verb takes.
type Count struct{ Min, Max int }

// Entry is one row of the table of verbs. Only the row that was asked for is
// made into a Verb.
type Entry struct {
	Path     string // "image ls", without the program
	Use      string // what follows in the usage line: "[OPTIONS] NAME"
	Short    string
	Long     string // in the place of Short, in the verb's own help
	Examples string
	Aliases  []string
	Words    Count
	Podman   *Count // podman's count if it is another
	Extra    bool   // not one of docker's: its help does not list it
	Hidden   bool
	// Images: the words are names of images, for completion.
	Images bool
	// Containers: the words are names of containers.
	Containers bool
	// ShowHelp: the help lists --help itself, as docker's does where -h is taken.
	ShowHelp bool
	New      func() Verb // nil: a group, its verbs are rows "PATH …"
}

// Verb is one command line of a verb: Flags binds them, Run acts.
type Verb interface {
	Flags(*pflag.FlagSet)
	Run(context.Context, *Call, []string) error
}

// Counter is a verb whose flags say how many words it takes.
type Counter interface{ Count() Count }

// Call is where a command line runs.
type Call struct {
	Dialect  Dialect
	Program  string // "docker", "berth podman"
	Path     string // "docker image ls"
	In       io.Reader
	Out, Err io.Writer
	// Width is that of the terminal behind Out, 0 if there is none.
	Width int
	// Open gives the engine; it is opened on the first call.
	Open     func() (*engine.Engine, error)
	Settings *settings.Settings
	Now      func() time.Time
	// Table is the whole table, for verbs that describe it.
	Table *Table
}

// OpenContainers opens an engine that serves containers.
func (c *Call) OpenContainers() (*engine.Engine, error) {
	e, err := c.Open()
	if err != nil {
		return nil, err
	}
	if err := e.HasContainers(); err != nil {
		return nil, FromEngine(err)
	}
	return e, nil
}

// Podman reports whether podman's own words and forms are wanted.
func (c *Call) Podman() bool { return c.Dialect == Podman }

// count is how many words the entry takes in a dialect; berth takes both.
func (e *Entry) count(d Dialect) Count {
	if e.Podman == nil || d == Docker {
		return e.Words
	}
	if d == Podman {
		return *e.Podman
	}
	return Count{min(e.Words.Min, e.Podman.Min), max(e.Words.Max, e.Podman.Max)}
}
