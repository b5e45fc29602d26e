// Package credential finds, keeps and forgets the user's secrets for
// registries where docker and podman keep them: docker's config.json (auths,
// credsStore, credHelpers), podman's auth.json with entries per namespace, and
// programs named docker-credential-*. It does not speak to registries and does
// not decide which host may see a secret; that is package registry. Row 3,
// room image.
package credential

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"

	"berth/base/fault"
)

// hubKey is the name under which docker keeps the secret of Docker Hub.
const hubKey = "https://index.docker.io/v1/"

// Credential is what one registry asks for. The zero value is "nobody".
type Credential struct {
	Username, Password string
	// IdentityToken is exchanged for tokens at the registry's token server.
	IdentityToken string
	// RegistryToken is sent to the registry as it is.
	RegistryToken string
}

// Empty reports whether there is nothing to show.
func (c Credential) Empty() bool { return c == Credential{} }

// Options says where to look, in this order; see DockerFiles and PodmanFiles.
type Options struct {
	// Files are auth files; the first one that knows the registry counts.
	Files []string
	// Write is the file that Save and Erase change; "" is Files[0].
	Write string
	// Env is the environment of credential programs; nil is our own.
	Env []string
}

// Keeper answers from the files as they are at each call.
type Keeper struct{ o Options }

// New opens nothing yet.
func New(o Options) *Keeper {
	if o.Write == "" && len(o.Files) > 0 {
		o.Write = o.Files[0]
	}
	return &Keeper{o}
}

// Lookup finds the credential for repository of registry (docker.io for Docker
// Hub); repository may be "". Within a file the order is docker's and
// podman's: the program of credHelpers, then an entry for the longest
// namespace, then the program of credsStore. Nothing known is no error: the
// credential is empty. A malformed file or entry gives kind Invalid.
func (k *Keeper) Lookup(ctx context.Context, registry, repository string) (Credential, error) {
	for _, name := range k.o.Files {
		f, err := readFile(name)
		if err != nil {
			return Credential{}, err
		}
		c, err := k.inFile(ctx, f, registry, repository)
		if err != nil || !c.Empty() {
			return c, err
		}
	}
	return Credential{}, nil
}

func (k *Keeper) inFile(ctx context.Context, f *file, registry, repository string) (Credential, error) {
	keys := keysOf(registry, repository)
	for _, key := range keys {
		if program := f.CredHelpers[key]; program != "" {
			return k.fromProgram(ctx, program, serverOf(key))
		}
	}
	for _, key := range keys {
		if e, ok := f.Auths[key]; ok {
			c, err := e.credential()
			if err != nil {
				return c, fault.New(fault.Invalid, "read %s: key auths.%q: %w", f.path, key, err)
			}
			if !c.Empty() {
				return c, nil
			}
		}
	}
	// Old files have whole addresses: https://registry.example/v1/.
	for _, key := range f.addresses {
		if slices.Contains(keys, normal(key)) {
			c, err := f.Auths[key].credential()
			if err != nil {
				return c, fault.New(fault.Invalid, "read %s: key auths.%q: %w", f.path, key, err)
			}
			if !c.Empty() {
				return c, nil
			}
		}
	}
	if f.CredsStore != "" {
		return k.fromProgram(ctx, f.CredsStore, serverOf(registry))
	}
	return Credential{}, nil
}

// Save keeps c for key, a registry or a registry with a namespace, and tells
// where: a file or a program. The file keeps all that we do not know, and gets
// mode 0600.
func (k *Keeper) Save(ctx context.Context, key string, c Credential) (where string, err error) {
	if err := k.checkWrite(key, c); err != nil {
		return "", err
	}
	program := ""
	err = change(k.o.Write, func(f *file) error {
		if program = f.program(key); program != "" {
			return f.mark(serverOf(key))
		}
		return f.put(serverOf(key), c)
	})
	if err != nil {
		return "", err
	}
	if program != "" {
		return "docker-credential-" + program, k.storeInProgram(ctx, program, serverOf(key), c)
	}
	return k.o.Write, nil
}

func (k *Keeper) checkWrite(key string, c Credential) error {
	switch {
	case k.o.Write == "":
		return fault.New(fault.Invalid, "keep a credential for %s: no file is named", key)
	case key == "" || strings.ContainsAny(key, "\r\n\x00 "):
		return fault.New(fault.Invalid, "keep a credential: %q is no registry", key)
	case strings.Contains(c.Username, ":"):
		return fault.New(fault.Invalid, "keep a credential for %s: the user name has a colon", key)
	case strings.ContainsAny(c.Username+c.Password, "\x00\r\n"):
		return fault.New(fault.Invalid, "keep a credential for %s: a line break in the name or password", key)
	}
	return nil
}

// Erase forgets what is kept for key; nothing kept is kind NotFound.
func (k *Keeper) Erase(ctx context.Context, key string) error {
	program, found := "", false
	err := change(k.o.Write, func(f *file) error {
		program = f.program(key)
		found = f.drop(key)
		return nil
	})
	if err != nil {
		return err
	}
	if program != "" {
		return k.eraseInProgram(ctx, program, serverOf(key))
	}
	if !found {
		return fault.New(fault.NotFound, "forget the credential for %s: not logged in (%s)", key, k.o.Write)
	}
	return nil
}

// Keys lists what the written file has credentials for, sorted, Docker Hub as
// docker.io.
func (k *Keeper) Keys() ([]string, error) {
	f, err := readFile(k.o.Write)
	if err != nil {
		return nil, err
	}
	var out []string
	for key := range f.Auths {
		out = append(out, normal(key))
	}
	for key := range f.CredHelpers {
		out = append(out, normal(key))
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

// keysOf lists the keys that may stand for repository of registry, the longest
// namespace first (containers-auth.json(5)).
func keysOf(registry, repository string) []string {
	var keys []string
	for path := repository; path != ""; {
		keys = append(keys, registry+"/"+path)
		i := strings.LastIndexByte(path, '/')
		path = path[:max(i, 0)]
	}
	keys = append(keys, registry)
	if registry == "docker.io" {
		keys = append(keys, hubKey, "index.docker.io")
	}
	return keys
}

// serverOf is the key that docker writes and gives to programs.
func serverOf(key string) string {
	if key == "docker.io" || key == "index.docker.io" {
		return hubKey
	}
	return key
}

// normal brings a key of any age to registry[/namespace].
func normal(key string) string {
	if rest, ok := strings.CutPrefix(key, "https://"); ok {
		key, _, _ = strings.Cut(rest, "/")
	} else if rest, ok := strings.CutPrefix(key, "http://"); ok {
		key, _, _ = strings.Cut(rest, "/")
	}
	if key == "index.docker.io" || key == "registry-1.docker.io" {
		return "docker.io"
	}
	return key
}

// entry is one value of auths.
type entry struct {
	Auth          string `json:"auth"`
	Username      string `json:"username"`
	Password      string `json:"password"`
	IdentityToken string `json:"identitytoken"`
	RegistryToken string `json:"registrytoken"`
}

// credential decodes auth, base64 of user:password; the separate fields are
// what older files have.
func (e entry) credential() (Credential, error) {
	c := Credential{Username: e.Username, Password: e.Password, IdentityToken: e.IdentityToken, RegistryToken: e.RegistryToken}
	if e.Auth == "" {
		return c, nil
	}
	b, err := base64.StdEncoding.DecodeString(e.Auth)
	if err != nil {
		return Credential{}, fault.New(fault.Invalid, "auth is no base64")
	}
	user, password, ok := strings.Cut(string(b), ":")
	if !ok || user == "" {
		return Credential{}, fault.New(fault.Invalid, "auth is not user:password")
	}
	c.Username, c.Password = user, strings.Trim(password, "\x00")
	return c, nil
}

// entryOf is the other way; the password of an identity token is not kept.
func entryOf(c Credential) (json.RawMessage, error) {
	out := map[string]string{}
	password := c.Password
	if c.IdentityToken != "" {
		out["identitytoken"], password = c.IdentityToken, ""
	}
	if c.RegistryToken != "" {
		out["registrytoken"] = c.RegistryToken
	}
	if c.Username != "" {
		out["auth"] = base64.StdEncoding.EncodeToString([]byte(c.Username + ":" + password))
	}
	return json.Marshal(out)
}
