package images

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"time"

	"berth/engine"
	"berth/image"
)

// dockerImage is docker's document of one image, in docker's order.
type dockerImage struct {
	ID              string `json:"Id"`
	RepoTags        []string
	RepoDigests     []string
	Parent          string
	Comment         string
	Created         string
	Container       string
	ContainerConfig *containerConfig
	DockerVersion   string
	Author          string
	Config          *containerConfig
	Architecture    string
	Variant         string `json:",omitempty"`
	Os              string
	OsVersion       string `json:",omitempty"`
	Size            int64
	VirtualSize     int64
	GraphDriver     graphDriver
	RootFS          rootFS
	Metadata        struct{ LastTagTime time.Time }
}

type graphDriver struct {
	Data map[string]string
	Name string
}

type rootFS struct {
	Type   string
	Layers []string `json:",omitempty"`
}

// containerConfig is the config of Docker's images; the fields that OCI does
// not have are empty in an OCI image.
//
//house:allow struct the JSON of another engine, field for field
type containerConfig struct {
	Hostname        string
	Domainname      string
	User            string
	AttachStdin     bool
	AttachStdout    bool
	AttachStderr    bool
	ExposedPorts    map[string]struct{} `json:",omitempty"`
	Tty             bool
	OpenStdin       bool
	StdinOnce       bool
	Env             []string
	Cmd             []string
	Healthcheck     json.RawMessage `json:",omitempty"`
	ArgsEscaped     bool            `json:",omitempty"`
	Image           string
	Volumes         map[string]struct{}
	WorkingDir      string
	Entrypoint      []string
	NetworkDisabled bool   `json:",omitempty"`
	MacAddress      string `json:",omitempty"`
	OnBuild         []string
	Labels          map[string]string
	StopSignal      string   `json:",omitempty"`
	StopTimeout     *int     `json:",omitempty"`
	Shell           []string `json:",omitempty"`
}

// configFile is what inspect takes from an image's configuration as it lies in
// the store.
type configFile struct {
	Comment         string           `json:"comment"`
	Created         *time.Time       `json:"created"`
	Container       string           `json:"container"`
	ContainerConfig *containerConfig `json:"container_config"`
	DockerVersion   string           `json:"docker_version"`
	Author          string           `json:"author"`
	Config          *containerConfig `json:"config"`
	Architecture    string           `json:"architecture"`
	Variant         string           `json:"variant"`
	OS              string           `json:"os"`
	OSVersion       string           `json:"os.version"`
	History         []historyEntry   `json:"history"`
}

type historyEntry struct {
	Created    *time.Time `json:"created,omitempty"`
	CreatedBy  string     `json:"created_by,omitempty"`
	Author     string     `json:"author,omitempty"`
	Comment    string     `json:"comment,omitempty"`
	EmptyLayer bool       `json:"empty_layer,omitempty"`
}

func readConfig(d image.Details) (configFile, error) {
	var f configFile
	if err := json.Unmarshal(d.RawConfig, &f); err != nil {
		return f, fmt.Errorf("read the configuration of image %s: %w", d.ID, err)
	}
	if f.Comment == "" && len(f.History) > 0 {
		f.Comment = f.History[len(f.History)-1].Comment
	}
	return f, nil
}

func dockerDocument(e *engine.Engine, d image.Details) (any, error) {
	f, err := readConfig(d)
	if err != nil {
		return nil, err
	}
	doc := dockerImage{
		ID: string(d.ID), RepoTags: familiarAll(e, d.Names), RepoDigests: familiarAll(e, d.Digests),
		Parent: string(d.Parent), Comment: f.Comment, Container: f.Container, ContainerConfig: f.ContainerConfig,
		DockerVersion: f.DockerVersion, Author: f.Author, Config: f.Config, Architecture: f.Architecture,
		Variant: f.Variant, Os: f.OS, OsVersion: f.OSVersion, Size: d.Size, VirtualSize: d.Size,
		GraphDriver: graphDriver{Data: folders(d), Name: "overlay2"}, RootFS: layersOf(d),
	}
	created := time.Time{}
	if f.Created != nil {
		created = *f.Created
	}
	doc.Created = created.Format(time.RFC3339Nano)
	if doc.ContainerConfig == nil {
		doc.ContainerConfig = &containerConfig{}
	}
	if doc.Config == nil {
		doc.Config = &containerConfig{}
	}
	if len(d.Names) > 0 {
		doc.Metadata.LastTagTime = d.Added
	}
	return doc, nil
}

func layersOf(d image.Details) rootFS {
	r := rootFS{Type: "layers"}
	for _, l := range d.Layers {
		r.Layers = append(r.Layers, string(l))
	}
	return r
}

// folders are the layers' folders under the names that overlayfs gives them.
func folders(d image.Details) map[string]string {
	m := map[string]string{}
	if d.LowerDir != "" {
		m["LowerDir"] = d.LowerDir
	}
	if d.UpperDir != "" {
		m["UpperDir"] = d.UpperDir
		m["MergedDir"] = filepath.Join(filepath.Dir(d.UpperDir), "merged")
	}
	if d.WorkDir != "" {
		m["WorkDir"] = d.WorkDir
	}
	return m
}

// podmanImageDocument is podman's document of one image, in podman's order.
//
//house:allow struct the JSON of another engine, field for field
type podmanImageDocument struct {
	ID           string `json:"Id"`
	Digest       string
	RepoTags     []string
	RepoDigests  []string
	Parent       string
	Comment      string
	Created      *time.Time
	Config       podmanConfig
	Version      string
	Author       string
	Architecture string
	Os           string
	Size         int64
	VirtualSize  int64
	GraphDriver  struct {
		Name string
		Data map[string]string
	}
	RootFS       rootFS
	Labels       map[string]string
	Annotations  map[string]string
	ManifestType string
	User         string
	History      []historyEntry
	NamesHistory []string
	HealthCheck  json.RawMessage `json:"Healthcheck,omitempty"`
}

// podmanConfig leaves out what is empty.
type podmanConfig struct {
	User         string              `json:",omitempty"`
	ExposedPorts map[string]struct{} `json:",omitempty"`
	Env          []string            `json:",omitempty"`
	Entrypoint   []string            `json:",omitempty"`
	Cmd          []string            `json:",omitempty"`
	Volumes      map[string]struct{} `json:",omitempty"`
	WorkingDir   string              `json:",omitempty"`
	Labels       map[string]string   `json:",omitempty"`
	StopSignal   string              `json:",omitempty"`
	OnBuild      []string            `json:",omitempty"`
}

func podmanDocument(e *engine.Engine, d image.Details) (any, error) {
	f, err := readConfig(d)
	if err != nil {
		return nil, err
	}
	c := f.Config
	if c == nil {
		c = &containerConfig{}
	}
	doc := podmanImageDocument{
		ID: hexOf(d.ID), Digest: string(d.Target.Digest), RepoTags: familiarAll(e, d.Names), RepoDigests: familiarAll(e, d.Digests),
		Parent: hexOf(d.Parent), Comment: f.Comment, Created: f.Created, Version: f.DockerVersion, Author: f.Author,
		Architecture: f.Architecture, Os: f.OS, Size: d.Size, VirtualSize: d.Size, RootFS: layersOf(d), Labels: c.Labels,
		Annotations: map[string]string{}, ManifestType: d.Target.MediaType, User: c.User, History: f.History,
		NamesHistory: familiarAll(e, d.Names), HealthCheck: c.Healthcheck,
	}
	doc.Config = podmanConfig{
		User: c.User, ExposedPorts: c.ExposedPorts, Env: c.Env, Entrypoint: c.Entrypoint, Cmd: c.Cmd, Volumes: c.Volumes,
		WorkingDir: c.WorkingDir, Labels: c.Labels, StopSignal: c.StopSignal, OnBuild: c.OnBuild,
	}
	doc.GraphDriver.Name, doc.GraphDriver.Data = "overlay", folders(d)
	delete(doc.GraphDriver.Data, "MergedDir")
	return doc, nil
}
