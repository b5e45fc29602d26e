package images

import (
	"cmp"
	"fmt"
	"io"
	"sync"

	"berth/cli/docker/command"
	"berth/cli/term"
	"berth/engine"
	"berth/image"
)

// pullView shows a pull as the dialect does: docker's lines on standard output,
// podman's on standard error with the id alone on standard output.
type pullView struct {
	mu    sync.Mutex // retries are told of beside the rest
	call  *command.Call
	eng   *engine.Engine
	r     engine.PullRequest
	quiet bool
	lines *term.Lines
	name  string // canonical
	tag   string // whose layers are shown
	begun map[string]bool
	// here are the layers that were here before. They are shown when another
	// one was not: docker says nothing of an image that is up to date.
	here  []string
	shown map[string]bool // tags that had their heading
}

func newPullView(c *command.Call, e *engine.Engine, r engine.PullRequest, quiet bool) *pullView {
	v := &pullView{call: c, eng: e, r: r, quiet: quiet, begun: map[string]bool{}, shown: map[string]bool{}}
	out, width := c.Out, c.Width
	if c.Podman() {
		out, width = c.Err, term.Width(c.Err)
	}
	if quiet {
		out, width = io.Discard, 0
	}
	v.lines = term.NewLines(out, width)
	return v
}

// begin is what is said before the name was looked at. A name that is none is
// refused first, as docker does.
func (v *pullView) begin() error {
	if _, err := v.eng.Images.Name(v.r.Name); err != nil {
		return err
	}
	if !v.call.Podman() && !v.r.AllTags && !hasTag(v.r.Name) {
		v.lines.Text("Using default tag: latest")
	}
	return nil
}

func (v *pullView) named(canonical string) {
	v.name = canonical
	if v.call.Podman() {
		v.lines.Text("Trying to pull %s...", canonical)
	}
}

func (v *pullView) fail(err error) error { return command.FromEngine(err) }

// heading says whose layers follow, once for each tag.
func (v *pullView) heading(tag string) {
	_, path, own := engine.SplitName(v.name)
	if tag == "" {
		tag = own
	}
	if v.tag == tag && v.shown[tag] {
		return
	}
	v.tag, v.shown[tag], v.here = tag, true, nil
	if v.call.Podman() {
		v.lines.Text("Getting image source signatures")
		return
	}
	v.lines.Text("%s: Pulling from %s", tag, path)
}

func (v *pullView) progress(p image.Progress) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.heading(p.Ref)
	if v.call.Podman() {
		v.podman(p)
		return
	}
	id := shortID(p.Digest)
	if p.Step == image.StepExists {
		v.here = append(v.here, id)
		return
	}
	v.showHere()
	if id != "" && !v.begun[id] {
		v.begun[id] = true
		v.lines.State(id, "Pulling fs layer")
		if p.Step == image.StepWaiting {
			return
		}
	}
	switch p.Step {
	case image.StepDownloading, image.StepExtracting:
		v.lines.Amount(id, string(p.Step), p.Current, p.Total)
	case image.StepRetrying:
		v.lines.State(cmp.Or(id, "Retrying"), "trying again: "+p.Detail)
	default:
		v.lines.State(id, string(p.Step))
	}
}

func (v *pullView) showHere() {
	for _, id := range v.here {
		v.lines.State(id, string(image.StepExists))
	}
	v.here = nil
}

func (v *pullView) podman(p image.Progress) {
	id := "Copying blob " + string(p.Digest)
	if v.lines.Terminal() {
		id = "Copying blob " + shortID(p.Digest)
	}
	switch p.Step {
	case image.StepDownloading:
		v.copying(id)
		v.lines.Amount(id, "", p.Current, p.Total)
	case image.StepExists:
		v.copying(id)
		if v.lines.Terminal() {
			v.lines.State(id, "skipped: already exists")
		}
	case image.StepPulled:
		v.copying(id)
		if v.lines.Terminal() {
			v.lines.State(id, "done")
		}
	case image.StepRetrying:
		v.lines.Text("%s: trying again: %s", id, p.Detail)
	}
}

// copying says once that a blob is under way, where no line can be redrawn.
func (v *pullView) copying(id string) {
	if !v.begun[id] && !v.lines.Terminal() {
		v.lines.Text("%s", id)
	}
	v.begun[id] = true
}

// View shows a pull that another verb needs, such as run.
type View struct{ v *pullView }

// NewView shows it on out: docker's lines without the name at the end.
func NewView(c *command.Call, e *engine.Engine, out io.Writer) *View {
	own := *c
	own.Out, own.Err, own.Width = out, out, term.Width(out)
	return &View{newPullView(&own, e, engine.PullRequest{}, false)}
}

// Named and Progress are a PullRequest's.
func (w *View) Named(canonical string) { w.v.named(canonical) }

// Progress shows one step.
func (w *View) Progress(p image.Progress) { w.v.progress(p) }

// End shows what came.
func (w *View) End(pulled []image.Pulled) {
	v := w.v
	if v.call.Podman() {
		v.podmanEnd(pulled)
		return
	}
	v.outcome(pulled)
}

func (v *pullView) end(pulled []image.Pulled) {
	if v.call.Podman() {
		v.podmanEnd(pulled)
		return
	}
	v.outcome(pulled)
	name := v.name
	if v.r.AllTags {
		registry, path, _ := engine.SplitName(v.name)
		name = registry + "/" + path
	}
	fmt.Fprintln(v.call.Out, term.Clean(name))
}

// outcome is docker's digests and status.
func (v *pullView) outcome(pulled []image.Pulled) {
	fresh := false
	for _, p := range pulled {
		if _, _, tag := engine.SplitName(p.Name); !v.shown[tag] {
			v.heading(tag)
		}
		if p.New {
			v.showHere()
		}
		v.lines.Text("Digest: %s", p.Digest)
		fresh = fresh || p.New
	}
	name := v.name
	if v.r.AllTags {
		registry, path, _ := engine.SplitName(v.name)
		name = registry + "/" + path
	}
	status := "Image is up to date for "
	if fresh {
		status = "Downloaded newer image for "
	}
	v.lines.Text("Status: %s%s", status, v.eng.Images.Familiar(name))
}

func (v *pullView) podmanEnd(pulled []image.Pulled) {
	for _, p := range pulled {
		v.heading("")
		v.lines.Text("Copying config %s", p.Image.ID)
		v.lines.Text("Writing manifest to image destination")
		v.lines.Text("Storing signatures")
		fmt.Fprintln(v.call.Out, hexOf(p.Image.ID))
	}
}
