package system

import (
	"context"
	"fmt"
	"io"
	"runtime"

	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"berth/cli/docker/command"
	"berth/cli/docker/format"
)

// ShowVersion is version.
type ShowVersion struct{ format string }

func (v *ShowVersion) Flags(f *pflag.FlagSet) {
	command.FormatFlag(f, &v.format, "f", "Format the output using the given Go template")
}

// versions is docker's document: client and server, which are one here.
type versions struct {
	Client clientVersion
	Server serverVersion
}

type platformName struct{ Name string }

type clientVersion struct {
	Platform          platformName
	Version           string
	APIVersion        string `json:"ApiVersion"`
	DefaultAPIVersion string
	GitCommit         string
	GoVersion         string
	Os                string
	Arch              string
	BuildTime         string
	Context           string
	Experimental      bool
}

type serverVersion struct {
	Platform      platformName
	Components    []component
	Version       string
	APIVersion    string `json:"ApiVersion"`
	MinAPIVersion string
	GitCommit     string
	GoVersion     string
	Os            string
	Arch          string
	KernelVersion string
}

type component struct {
	Name    string
	Version string
	Details map[string]string
}

func describe() versions {
	kernel := kernelVersion()
	name := platformName{"berth " + Version}
	return versions{
		Client: clientVersion{
			Platform: name, Version: DockerVersion, APIVersion: apiVersion, DefaultAPIVersion: apiVersion,
			GoVersion: runtime.Version(), Os: runtime.GOOS, Arch: runtime.GOARCH, Context: "default",
		},
		Server: serverVersion{
			Platform: name, Version: DockerVersion, APIVersion: apiVersion, MinAPIVersion: minAPIVersion,
			GoVersion: runtime.Version(), Os: runtime.GOOS, Arch: runtime.GOARCH, KernelVersion: kernel,
			Components: []component{
				{"Engine", DockerVersion, map[string]string{
					"ApiVersion": apiVersion, "MinAPIVersion": minAPIVersion, "Arch": runtime.GOARCH, "Os": runtime.GOOS,
					"GoVersion": runtime.Version(), "KernelVersion": kernel, "Experimental": "false",
				}},
				{"berth", Version, nil},
			},
		},
	}
}

func kernelVersion() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return ""
	}
	return unix.ByteSliceToString(u.Release[:])
}

// podmanVersion is podman's document.
type podmanVersion struct {
	Client struct {
		APIVersion string
		Version    string
		GoVersion  string
		GitCommit  string
		BuiltTime  string
		Built      int64
		OsArch     string
		Os         string
	}
}

func (v *ShowVersion) Run(_ context.Context, c *command.Call, _ []string) error {
	if c.Podman() {
		return v.podman(c.Out)
	}
	d := describe()
	if v.format != "" {
		return format.Value(c.Out, v.format, d)
	}
	fmt.Fprintf(c.Out, "Client: %s\n Version:           %s\n API version:       %s\n Go version:        %s\n OS/Arch:           %s/%s\n Context:           default\n",
		d.Client.Platform.Name, d.Client.Version, d.Client.APIVersion, d.Client.GoVersion, d.Client.Os, d.Client.Arch)
	fmt.Fprintf(c.Out, "\nServer: %s\n Engine:\n  Version:          %s\n  API version:      %s (minimum version %s)\n  Go version:       %s\n  OS/Arch:          %s/%s\n  Experimental:     false\n",
		d.Server.Platform.Name, d.Server.Version, d.Server.APIVersion, d.Server.MinAPIVersion, d.Server.GoVersion, d.Server.Os, d.Server.Arch)
	fmt.Fprintf(c.Out, " berth:\n  Version:          %s\n", Version)
	return nil
}

func (v *ShowVersion) podman(w io.Writer) error {
	var d podmanVersion
	d.Client.APIVersion, d.Client.Version, d.Client.GoVersion = PodmanVersion, PodmanVersion, runtime.Version()
	d.Client.BuiltTime, d.Client.Os = "Thu Jan  1 00:00:00 1970", runtime.GOOS
	d.Client.OsArch = runtime.GOOS + "/" + runtime.GOARCH
	switch v.format {
	case "":
		_, err := fmt.Fprintf(w, "Client:       Podman Engine\nVersion:      %s\nAPI Version:  %s\nGo Version:   %s\nBuilt:        %s\nOS/Arch:      %s\n",
			d.Client.Version, d.Client.APIVersion, d.Client.GoVersion, d.Client.BuiltTime, d.Client.OsArch)
		return err
	case "json":
		return format.Document(w, d, "  ")
	}
	return format.Value(w, v.format, d)
}
