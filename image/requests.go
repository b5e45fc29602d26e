package image

import (
	"io"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Policy says when Pull asks the registry.
type Policy string

const (
	PullAlways  Policy = "always"
	PullMissing Policy = "missing"
	PullNever   Policy = "never"
	// PullNewer asks, and goes on with the local image if the registry cannot be reached.
	PullNewer Policy = "newer"
)

// PullRequest asks for one image, or for all tags of a repository.
type PullRequest struct {
	// Name is canonical (ref.Parse of the dialect has been applied).
	Name     string
	AllTags  bool
	Policy   Policy
	Platform string // "" is the host's; "all" keeps every platform
	Access
	Progress func(Progress)
}

// Access says how one verb reaches registries.
type Access struct {
	Auth *Credential // in the place of what is kept
	// AuthFile holds the credentials in the place of the dialect's own file.
	AuthFile string
	// CertDir has *.crt, *.cert and *.key files for every registry of the verb,
	// in the place of certs.d.
	CertDir string
	// AnyTLS is --tls-verify=false: https without verification, or http.
	AnyTLS     bool
	Retries    int           // 0: three
	RetryDelay time.Duration // 0: one second, doubled each time
}

// Credential is a user's name and secret for one registry.
type Credential struct {
	Username, Password, IdentityToken, RegistryToken string
}

// Pulled tells what Pull did for one name.
type Pulled struct {
	Image  Image
	Name   string // canonical, with tag or digest
	Digest digest.Digest
	// New is false if the image was there and is up to date.
	New bool
}

// PushRequest sends an image, all tags of a repository, or an index.
type PushRequest struct {
	Source string // a name or an id here
	Name   string // canonical destination with tag
	// AllTags pushes every tag of Name's repository.
	AllTags  bool
	Platform string // of a multi-platform image: this one only
	Access
	// Compression is "", "gzip", "zstd" or "zstd:chunked"'s plain form for
	// layers whose compressed bytes are not kept; Level 0 is the default.
	Compression string
	Level       int
	Force       bool // recompress even what is kept
	// Format is the manifest's: ManifestOCI, ManifestDocker, or "" for as it is.
	Format   string
	Progress func(Progress)
}

// The forms of a manifest.
const (
	ManifestOCI    = "oci"
	ManifestDocker = "v2s2"
)

// Pushed tells what Push did for one name.
type Pushed struct {
	Name   string
	Digest digest.Digest
	Size   int64 // of the manifest
	// Sent counts layer bytes that really went over the wire.
	Sent int64
}

// ListRequest makes, widens or annotates a manifest list; all names are as typed.
type ListRequest struct {
	List    string
	Members []string
	Amend   bool // Create: the list may be there
	All     bool // a member that is a list gives all its members, else the host's
	Set     Annotation
	Access
}

// ListOptions selects images. Filters are docker's and podman's words: before,
// since, after, dangling, label, label!, reference, until, id, containers,
// readonly, intermediate, manifest, digest.
type ListOptions struct {
	All     bool
	Filters map[string][]string
}

// RemoveOptions is rmi's.
type RemoveOptions struct {
	Force   bool
	NoPrune bool
	// InUse tells which containers use an image; nil means none.
	InUse func(id digest.Digest) (containers []InUse)
}

// InUse is a container that keeps an image.
type InUse struct {
	Container string // short id
	Running   bool
}

// Removed is one line of rmi: exactly one of the two is set.
type Removed struct {
	Untagged string // familiar name
	Deleted  digest.Digest
}

// PruneOptions is image prune's.
type PruneOptions struct {
	All     bool
	Filters map[string][]string
	InUse   func(id digest.Digest) []InUse
}

// Pruned is what was removed and what that gave back.
type Pruned struct {
	Removed   []Removed
	Reclaimed int64
}

// Layer is one line of history or tree.
type Layer struct {
	ID        digest.Digest // image id on the top line, else ""
	Created   time.Time
	CreatedBy string
	Comment   string
	Size      int64
	Empty     bool
	Tags      []string
	DiffID    digest.Digest
}

// Details is all that inspect says of one image.
type Details struct {
	Image
	Config      ocispec.Image
	RawConfig   []byte
	RawManifest []byte
	History     []Layer
	// GraphDriver's folders: lower, upper, merged as Docker prints them.
	LowerDir, UpperDir, WorkDir string
}

// LoadOptions is load's.
type LoadOptions struct {
	Platform string
	Progress func(Progress)
	// Name is given to an archive without names (podman's load [NAME]).
	Name string
	// Only takes one image of the archive: by its name, an OCI reference name,
	// or @ and its number from 0.
	Only string
}

// Loaded is one image of an archive.
type Loaded struct {
	Name string // canonical, "" for an image without a name
	ID   digest.Digest
}

// Format is the form of a saved archive.
type Format string

const (
	FormatDocker    Format = "docker-archive"
	FormatOCI       Format = "oci-archive"
	FormatOCIDir    Format = "oci-dir"
	FormatDockerDir Format = "docker-dir"
)

// SaveOptions is save's.
type SaveOptions struct {
	Format   Format
	Platform string
	Compress bool
	Dir      string // for the two folder forms
	As       string // the one image's name in the archive, in the place of its own
	Progress func(Progress)
}

// ImportOptions is import's: a root file system becomes an image.
type ImportOptions struct {
	Name     string // canonical, may be empty
	Message  string
	Changes  []string // Dockerfile instructions
	Platform string
	Source   io.Reader
}

// Usage is the image half of system df.
type Usage struct {
	Images      []ImageUsage
	Size        int64 // on disk, shared parts once
	Reclaimable int64
	Blobs       int64 // kept compressed bytes
}

// ImageUsage is one line of system df -v.
type ImageUsage struct {
	Image
	Shared, Unique int64
	Containers     int
}

// Finding is one thing that check saw, and what --repair did about it.
type Finding struct {
	Object   string
	Trouble  string
	Repaired string
	// Harm is false for what only takes space until the next collection.
	Harm bool
}
