package settings

import (
	"cmp"
	"encoding/json"
	"fmt"
	"path/filepath"
)

// Client is what is used of the client's config.json. Its credentials belong to
// the image room and are not kept here.
type Client struct {
	DetachKeys   string            `json:"detachKeys"`
	PsFormat     string            `json:"psFormat"`
	ImagesFormat string            `json:"imagesFormat"`
	CredsStore   string            `json:"credsStore"`
	CredHelpers  map[string]string `json:"credHelpers"`
	Proxies      map[string]Proxy  `json:"proxies"`
}

// Proxy goes into the environment of containers.
type Proxy struct {
	HTTPProxy  string `json:"httpProxy"`
	HTTPSProxy string `json:"httpsProxy"`
	NoProxy    string `json:"noProxy"`
	FTPProxy   string `json:"ftpProxy"`
	AllProxy   string `json:"allProxy"`
}

// ClientFile is the path of config.json.
func (s *Settings) ClientFile() string { return filepath.Join(s.ClientDir, "config.json") }

// client reads config.json from --config, DOCKER_CONFIG or ~/.docker. A broken
// one is as none, as docker has it, and ClientError says so.
func (s *Settings) client(p Places) {
	s.ClientDir = cmp.Or(p.ClientDir, p.Getenv("DOCKER_CONFIG"), filepath.Join(home(p), ".docker"))
	data, err := read(s.ClientFile())
	if err == nil && len(data) > 0 {
		err = json.Unmarshal(data, &s.Client)
	}
	if err != nil {
		s.Client = Client{}
		s.ClientError = fmt.Errorf("%s: %w", s.ClientFile(), err)
	}
}
