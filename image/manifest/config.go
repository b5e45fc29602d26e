package manifest

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/base/fault"
	"berth/image/ref"
)

// Config is the config of an image: OCI's and Docker's in one, they differ in
// media type alone. It is what others wrote; nothing in it is obeyed without
// the checks of who obeys.
type Config struct {
	Created      *time.Time   `json:"created,omitempty"`
	Author       string       `json:"author,omitempty"`
	Comment      string       `json:"comment,omitempty"`
	Architecture string       `json:"architecture"`
	OS           string       `json:"os"`
	OSVersion    string       `json:"os.version,omitempty"`
	OSFeatures   []string     `json:"os.features,omitempty"`
	Variant      string       `json:"variant,omitempty"`
	Defaults     Defaults     `json:"config"`
	RootFS       v1.RootFS    `json:"rootfs"`
	History      []v1.History `json:"history,omitempty"`

	raw []byte
}

// Defaults is what a container gets that asks for nothing else: the object
// "config" of the config. Fields that Docker once wrote and no one reads are
// left out; the original bytes have them.
type Defaults struct {
	User         string              `json:"User,omitempty"`
	ExposedPorts map[string]struct{} `json:"ExposedPorts,omitempty"`
	Env          []string            `json:"Env,omitempty"`
	Entrypoint   Words               `json:"Entrypoint,omitempty"`
	Cmd          Words               `json:"Cmd,omitempty"`
	Healthcheck  *Healthcheck        `json:"Healthcheck,omitempty"`
	Volumes      map[string]struct{} `json:"Volumes,omitempty"`
	WorkingDir   string              `json:"WorkingDir,omitempty"`
	Labels       map[string]string   `json:"Labels,omitempty"`
	StopSignal   string              `json:"StopSignal,omitempty"`
	StopTimeout  *int                `json:"StopTimeout,omitempty"` // seconds
	OnBuild      []string            `json:"OnBuild,omitempty"`
	Shell        Words               `json:"Shell,omitempty"`
	ArgsEscaped  bool                `json:"ArgsEscaped,omitempty"`
	Hostname     string              `json:"Hostname,omitempty"`
	Domainname   string              `json:"Domainname,omitempty"`
	Tty          bool                `json:"Tty,omitempty"`
	OpenStdin    bool                `json:"OpenStdin,omitempty"`
}

// Healthcheck is docker's HEALTHCHECK. Times are nanoseconds; 0 is inherited.
type Healthcheck struct {
	Test          []string      `json:"Test,omitempty"` // NONE | CMD args… | CMD-SHELL command
	Interval      time.Duration `json:"Interval,omitempty"`
	Timeout       time.Duration `json:"Timeout,omitempty"`
	StartPeriod   time.Duration `json:"StartPeriod,omitempty"`
	StartInterval time.Duration `json:"StartInterval,omitempty"`
	Retries       int           `json:"Retries,omitempty"`
}

// Words is a command line: a list, or in very old configs one string.
type Words []string

// UnmarshalJSON takes a list, a string or null.
func (w *Words) UnmarshalJSON(b []byte) error {
	var one string
	if json.Unmarshal(b, &one) == nil {
		if *w = nil; string(b) != "null" {
			*w = Words{one}
		}
		return nil
	}
	return json.Unmarshal(b, (*[]string)(w))
}

// DecodeConfig reads the config of an image. The bytes are kept, not copied.
// Error: Invalid.
func DecodeConfig(raw []byte) (*Config, error) {
	if len(raw) > MaxSize {
		return nil, fault.New(fault.Invalid, "read image config: %d bytes, more than %d", len(raw), MaxSize)
	}
	c := &Config{raw: raw}
	if err := c.decode(); err != nil {
		return nil, fmt.Errorf("read image config: %w", err)
	}
	return c, nil
}

// NewConfig encodes a config of our own making. Error: Invalid.
func NewConfig(c Config) (*Config, error) {
	if c.RootFS.Type == "" {
		c.RootFS.Type = "layers"
	}
	if c.RootFS.DiffIDs == nil {
		c.RootFS.DiffIDs = []digest.Digest{}
	}
	raw, err := json.Marshal(c)
	if err != nil {
		return nil, fmt.Errorf("write image config: %w", err)
	}
	return DecodeConfig(raw)
}

// Raw returns the original bytes. The caller does not write to them.
func (c *Config) Raw() []byte { return c.raw }

// Digest returns the image's id: the sha256 of the bytes.
func (c *Config) Digest() digest.Digest { return digest.SHA256.FromBytes(c.raw) }

// Platform returns what the image runs on.
func (c *Config) Platform() v1.Platform {
	return v1.Platform{OS: c.OS, Architecture: c.Architecture, Variant: c.Variant,
		OSVersion: c.OSVersion, OSFeatures: c.OSFeatures}
}

func (c *Config) decode() error {
	if err := scan(c.raw); err != nil {
		return err
	}
	if err := json.Unmarshal(c.raw, c); err != nil {
		return fault.New(fault.Invalid, "%w", err)
	}
	switch {
	case c.RootFS.Type != "" && c.RootFS.Type != "layers":
		return fault.New(fault.Invalid, "rootfs is of type %.80q, not layers", c.RootFS.Type)
	case len(c.RootFS.DiffIDs) > MaxLayers:
		return fault.New(fault.Invalid, "%d diff ids, more than %d", len(c.RootFS.DiffIDs), MaxLayers)
	case len(c.History) > MaxHistory:
		return fault.New(fault.Invalid, "%d lines of history, more than %d", len(c.History), MaxHistory)
	}
	for i, d := range c.RootFS.DiffIDs {
		if err := ref.CheckDigest(string(d)); err != nil {
			return fmt.Errorf("diff id %d %.150q: %w", i, string(d), err)
		}
	}
	return c.checkText()
}

// CheckLayers says whether a manifest and its config speak of as many layers.
// Error: Invalid.
func CheckLayers(m *v1.Manifest, c *Config) error {
	if len(m.Layers) != len(c.RootFS.DiffIDs) {
		return fault.New(fault.Invalid, "the manifest has %d layers, the config %d diff ids",
			len(m.Layers), len(c.RootFS.DiffIDs))
	}
	return nil
}

// Step is one line of history with the layer that it made, if it made one.
type Step struct {
	v1.History
	DiffID digest.Digest // "" for a line without a layer
}

// Steps pairs the history with the layers, oldest first. agrees is false if
// there are more or fewer lines with layers than layers (some builders write
// that); a layer without a line then gets an empty one at the end, and lines
// past the last layer have no diff id.
func (c *Config) Steps() (steps []Step, agrees bool) {
	layers := c.RootFS.DiffIDs
	agrees = true
	for _, h := range c.History {
		s := Step{History: h}
		if !h.EmptyLayer {
			if len(layers) > 0 {
				s.DiffID, layers = layers[0], layers[1:]
			} else {
				agrees = false
			}
		}
		steps = append(steps, s)
	}
	for _, d := range layers {
		agrees = false
		steps = append(steps, Step{DiffID: d})
	}
	return steps, agrees
}
