package engine

import (
	"context"
	"io"
	"os"

	"github.com/opencontainers/go-digest"

	"berth/image"
)

// Images is the image store as the verbs need it: *image.Store.
type Images interface {
	Looks
	Travels
	Changes
	Archives
	Trees
	Keeps
}

// Looks tell what is.
type Looks interface {
	Name(typed string) (canonical string, err error)
	Familiar(canonical string) string
	Find(ctx context.Context, nameOrID string) (image.Image, error)
	List(ctx context.Context, o image.ListOptions) ([]image.Image, error)
	Inspect(ctx context.Context, nameOrID string) (image.Details, error)
}

// Travels move images from and to registries.
type Travels interface {
	Pull(ctx context.Context, r image.PullRequest) ([]image.Pulled, error)
	Push(ctx context.Context, r image.PushRequest) ([]image.Pushed, error)
}

// Changes change names and remove images.
type Changes interface {
	Tag(ctx context.Context, source, target string) error
	Untag(ctx context.Context, source string, names []string) ([]image.Removed, error)
	Remove(ctx context.Context, namesOrIDs []string, o image.RemoveOptions, each func(arg string, r []image.Removed, err error)) error
	Prune(ctx context.Context, o image.PruneOptions) (image.Pruned, error)
}

// Archives move images from and to files, and from other engines.
type Archives interface {
	Load(ctx context.Context, r io.Reader, path string, o image.LoadOptions) ([]image.Loaded, error)
	Save(ctx context.Context, w io.Writer, names []string, o image.SaveOptions) error
	Import(ctx context.Context, o image.ImportOptions) (digest.Digest, error)
	TakeFrom(ctx context.Context, t image.TakeOver) ([]image.Loaded, error)
}

// Trees show what is inside an image.
type Trees interface {
	Mount(ctx context.Context, nameOrID string) (string, error)
	Unmount(ctx context.Context, nameOrID string, force bool) error
	Root(ctx context.Context, nameOrID string) (*os.File, error)
	Mounted(ctx context.Context) (map[digest.Digest]string, error)
	Diff(ctx context.Context, nameOrID, base string) ([]image.Change, error)
}

// Keeps count and verify the whole store.
type Keeps interface {
	Usage(ctx context.Context, inUse func(digest.Digest) []image.InUse) (image.Usage, error)
	Check(ctx context.Context, repair bool) ([]image.Finding, error)
}

// Lists makes manifest lists by hand: *image.Lists.
type Lists interface {
	Create(ctx context.Context, r image.ListRequest) (digest.Digest, error)
	Add(ctx context.Context, r image.ListRequest) (digest.Digest, error)
	Annotate(ctx context.Context, r image.ListRequest) (digest.Digest, error)
	Remove(ctx context.Context, list string, members []digest.Digest) (digest.Digest, error)
	Inspect(ctx context.Context, name string, a image.Access) ([]byte, error)
	Push(ctx context.Context, list string, all bool, r image.PushRequest) (image.Pushed, error)
}

// Registries asks registries about other things: *image.Registries.
type Registries interface {
	Search(ctx context.Context, term string, limit int, filters map[string][]string, a image.Access) ([]image.Found, error)
	Tags(ctx context.Context, name string, a image.Access) ([]string, error)
	Login(ctx context.Context, registry string, c image.Credential, a image.Access) (where string, err error)
	Logout(ctx context.Context, registry, file string, all bool) error
	LoggedIn(ctx context.Context, registry, file string) (image.Credential, error)
}

// Writables makes the root file systems of containers: *image.Writables.
type Writables interface {
	Roots
	Owners
	Sizes
	Leavings
	Base(ctx context.Context, nameOrID string) (image.Base, error)
	Commit(ctx context.Context, o image.CommitOptions) (digest.Digest, error)
}

// Roots are the trees themselves.
type Roots interface {
	Prepare(ctx context.Context, key string, img image.Image, limit int64, owners *image.Owners) (image.Writable, error)
	Find(ctx context.Context, key string) (image.Writable, error)
	Below(ctx context.Context, key string) (*os.File, error)
	Remove(ctx context.Context, key string) error
}

// Owners are those of files, as long as an ordinary user has one id.
type Owners interface {
	OneID() bool
	Migrate(ctx context.Context) (files int, err error)
}

// Sizes tell what a container has above its image, and whether that can be limited.
type Sizes interface {
	Usage(ctx context.Context, key string) (int64, error)
	Changes(ctx context.Context, key string) ([]image.Change, error)
	CheckLimits() error
}

// Leavings are writable trees that nobody may need any more.
type Leavings interface {
	Old(ctx context.Context) (keys []string, err error)
	Cleanup(ctx context.Context)
	SweepLimits(clear bool) (int, error)
}

// Trust is the policy and signatures: *image.Trust.
type Trust interface {
	Rules() (rules []image.TrustRule, raw []byte, err error)
	Set(r image.TrustRule) error
	NewKey() (private, public []byte, err error)
	Sign(ctx context.Context, name string, key []byte, a image.Access) (digest.Digest, error)
	Verify(ctx context.Context, name string, keys [][]byte, a image.Access) (digest.Digest, error)
}
