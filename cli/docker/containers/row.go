package containers

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	units "github.com/docker/go-units"

	"berth/cli/docker/command"
	"berth/cli/docker/format"
	"berth/cli/term"
)

const (
	shortLen   = 12
	commandLen = 20 // what a list shows of a command
	mountLen   = 15
	ellipsis   = "…"
)

func shortID(id string) string { return id[:min(shortLen, len(id))] }

// cut is a text of at most n characters, the last one an ellipsis if there were
// more.
func cut(s string, n int) string {
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	return string([]rune(s)[:n-1]) + ellipsis
}

// Row is one line of ps: what a template sees, in the order of docker's JSON.
type Row struct {
	Command      string
	CreatedAt    string
	ID           string
	Image        string
	Labels       string
	LocalVolumes string
	Mounts       string
	Names        string
	Networks     string
	Ports        string
	RunningFor   string
	Size         string
	State        string
	Status       string

	labels  map[string]string
	heading bool
}

// Label is {{.Label "key"}}.
func (r Row) Label(key string) string { return format.Label(r.labels, r.heading, key) }

// Created is podman's name of RunningFor.
func (r Row) Created() string { return r.RunningFor }

func listHeading(c *command.Call) Row {
	r := Row{
		Command: "COMMAND", CreatedAt: "CREATED AT", ID: "CONTAINER ID", Image: "IMAGE", Labels: "LABELS", LocalVolumes: "LOCAL VOLUMES",
		Mounts: "MOUNTS", Names: "NAMES", Networks: "NETWORKS", Ports: "PORTS", RunningFor: "CREATED", Size: "SIZE", State: "STATE",
		Status: "STATUS", heading: true,
	}
	return r
}

func (v *List) row(c *command.Call, s *Summary) Row {
	r := Row{
		Command: v.command(c, s.Command), CreatedAt: s.Created.Local().Truncate(time.Second).String(), ID: v.id(s.ID),
		Image: term.Clean(s.Image), Names: term.Clean(s.Name), Networks: term.Clean(strings.Join(s.Networks, ",")), Ports: portText(s),
		RunningFor: units.HumanDuration(c.Now().Sub(s.Created)) + " ago", State: s.State.Status, Status: statusText(c, s.State),
		Size: sizeText(s), labels: s.Labels,
	}
	if r.Image == "" {
		r.Image = "<no image>"
	}
	var mounts []string
	r.Labels = strings.Join(term.Pairs(s.Labels), ",")
	local := 0
	for _, m := range s.Mounts {
		if !strings.HasPrefix(m, "/") {
			local++
		}
		if !v.noTrunc {
			m = cut(m, mountLen)
		}
		mounts = append(mounts, term.Clean(m))
	}
	r.LocalVolumes, r.Mounts = strconv.Itoa(local), strings.Join(mounts, ",")
	return r
}

// command is a command line as docker shows it: in quotes, cut short; podman's
// has no quotes.
func (v *List) command(c *command.Call, words []string) string {
	shown := make([]string, 0, len(words))
	for i, w := range words {
		if i > 0 && strings.Contains(w, " ") && !c.Podman() {
			w = "'" + w + "'"
		}
		shown = append(shown, w)
	}
	s := strings.Join(shown, " ")
	if !v.noTrunc {
		s = cut(s, commandLen)
	}
	if c.Podman() {
		return term.Clean(s)
	}
	return strconv.Quote(s)
}

func sizeText(s *Summary) string {
	own := units.HumanSizeWithPrecision(float64(s.Size), 3)
	if s.RootSize == 0 {
		return own
	}
	return own + " (virtual " + units.HumanSizeWithPrecision(float64(s.RootSize), 3) + ")"
}

// statusText is docker's sentence about a state.
func statusText(c *command.Call, s State) string {
	since := func(t time.Time) string { return units.HumanDuration(c.Now().Sub(t)) }
	switch s.Status {
	case "running", "paused":
		text := "Up " + since(s.StartedAt)
		if c.Podman() {
			text += " ago"
		}
		switch {
		case s.Status == "paused":
			return text + " (Paused)"
		case s.Health == "starting" && !c.Podman():
			return text + " (health: starting)"
		case s.Health != "":
			return text + " (" + s.Health + ")"
		}
		return text
	case "restarting":
		return fmt.Sprintf("Restarting (%d) %s ago", s.ExitCode, since(s.FinishedAt))
	case "removing":
		return "Removal In Progress"
	case "dead":
		return "Dead"
	case "created":
		return "Created"
	case "initialized":
		return "Initialized"
	}
	return fmt.Sprintf("Exited (%d) %s ago", s.ExitCode, since(s.FinishedAt))
}

// portText lists published ports, then those only exposed, neighbours as one
// range.
func portText(s *Summary) string {
	var out []string
	for _, p := range mergePorts(s.Ports) {
		if p.Host == 0 {
			continue
		}
		address := p.Address
		if address == "" {
			address = "0.0.0.0"
		}
		out = append(out, fmt.Sprintf("%s:%s->%s/%s", address, portRange(p.Host, p.Count), portRange(p.Container, p.Count), p.Protocol))
	}
	bare := slices.Clone(s.Exposed)
	for _, p := range s.Ports {
		if p.Host == 0 {
			bare = append(bare, p)
		}
	}
	for _, p := range mergePorts(bare) {
		out = append(out, portRange(p.Container, p.Count)+"/"+p.Protocol)
	}
	return strings.Join(out, ", ")
}

func portRange(first, count uint16) string {
	if count < 2 {
		return strconv.Itoa(int(first))
	}
	return fmt.Sprintf("%d-%d", first, first+count-1)
}

// mergePorts joins ranges that go on where another ends, in order.
func mergePorts(ports []PortBinding) []PortBinding {
	list := slices.Clone(ports)
	slices.SortFunc(list, func(a, b PortBinding) int {
		if n := strings.Compare(a.Protocol, b.Protocol); n != 0 {
			return n
		}
		if n := strings.Compare(addressKey(a.Address), addressKey(b.Address)); n != 0 {
			return n
		}
		return int(a.Container) - int(b.Container)
	})
	var out []PortBinding
	for _, p := range list {
		p.Count = max(1, p.Count)
		if n := len(out); n > 0 {
			last := &out[n-1]
			follows := last.Protocol == p.Protocol && last.Address == p.Address && last.Container+last.Count == p.Container
			if follows && (last.Host == 0) == (p.Host == 0) && (p.Host == 0 || last.Host+last.Count == p.Host) {
				last.Count += p.Count
				continue
			}
		}
		out = append(out, p)
	}
	return out
}

// addressKey sorts IPv4 before IPv6.
func addressKey(a string) string {
	if ip := net.ParseIP(a); ip != nil && ip.To4() == nil {
		return "~" + a
	}
	return a
}

// podmanEntry is one container in podman's JSON of ps.
type podmanEntry struct {
	AutoRemove bool              `json:"AutoRemove"`
	Command    []string          `json:"Command"`
	CreatedAt  string            `json:"CreatedAt"`
	Exited     bool              `json:"Exited"`
	ExitedAt   int64             `json:"ExitedAt"`
	ExitCode   int               `json:"ExitCode"`
	Id         string            `json:"Id"`
	Image      string            `json:"Image"`
	ImageID    string            `json:"ImageID"`
	IsInfra    bool              `json:"IsInfra"`
	Labels     map[string]string `json:"Labels"`
	Mounts     []string          `json:"Mounts"`
	Names      []string          `json:"Names"`
	Networks   []string          `json:"Networks"`
	Pid        int               `json:"Pid"`
	Pod        string            `json:"Pod"`
	Ports      []podmanPort      `json:"Ports"`
	StartedAt  int64             `json:"StartedAt"`
	State      string            `json:"State"`
	Status     string            `json:"Status"`
	Created    int64             `json:"Created"`
}

type podmanPort struct {
	HostIP        string `json:"host_ip"`
	ContainerPort uint16 `json:"container_port"`
	HostPort      uint16 `json:"host_port"`
	Range         uint16 `json:"range"`
	Protocol      string `json:"protocol"`
}

func podmanList(c *command.Call, list []Summary) error {
	out := make([]podmanEntry, 0, len(list))
	for _, s := range list {
		e := podmanEntry{
			Command: s.Command, CreatedAt: units.HumanDuration(c.Now().Sub(s.Created)) + " ago", Exited: s.State.Status == "exited",
			ExitedAt: s.State.FinishedAt.Unix(), ExitCode: s.State.ExitCode, Id: s.ID, Image: s.Image, ImageID: s.ImageID, Labels: s.Labels,
			Mounts: s.Mounts, Names: []string{s.Name}, Networks: s.Networks, Pid: s.PID, StartedAt: s.State.StartedAt.Unix(),
			State: s.State.Status, Status: statusText(c, s.State), Created: s.Created.Unix(),
		}
		for _, p := range s.Ports {
			e.Ports = append(e.Ports, podmanPort{p.Address, p.Container, p.Host, max(1, p.Count), p.Protocol})
		}
		out = append(out, e)
	}
	return format.Document(c.Out, out, "  ")
}
