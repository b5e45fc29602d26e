package system

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"

	units "github.com/docker/go-units"
	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"berth/cli/docker/command"
	"berth/cli/docker/format"
	"berth/cli/term"
	"berth/container"
	"berth/engine"
	"berth/image"
	"berth/rootless"
	"berth/settings"
)

// Info is info and system info.
type Info struct {
	format   string
	security bool
}

func (v *Info) Flags(f *pflag.FlagSet) {
	command.FormatFlag(f, &v.format, "f", "Format the output using the given Go template")
	f.BoolVar(&v.security, "security", false, "Show what of the isolation holds on this machine, and of the container that is named")
	command.Extra(f, "security")
}

// Count takes the name of a container with --security alone.
func (v *Info) Count() command.Count {
	if v.security {
		return command.Count{Max: 1}
	}
	return command.Count{}
}

// facts is docker's document as far as this engine has something to say.
type facts struct {
	Containers, ContainersRunning, ContainersPaused, ContainersStopped int
	Images                                                             int
	Driver                                                             string
	LoggingDriver                                                      string
	NCPU                                                               int
	MemTotal                                                           int64
	KernelVersion, OperatingSystem, OSType, Architecture               string
	IndexServerAddress                                                 string
	RegistryConfig                                                     registryFacts
	DockerRootDir                                                      string
	Name                                                               string
	ServerVersion                                                      string
	SecurityOptions                                                    []string
	Warnings                                                           []string
}

type registryFacts struct {
	InsecureRegistryCIDRs []string
	Mirrors               []string
}

func gather(ctx context.Context, c *command.Call) (facts, error) {
	e, err := c.Open()
	if err != nil {
		return facts{}, err
	}
	list, err := engine.ImageList(ctx, e, image.ListOptions{All: true})
	if err != nil {
		return facts{}, command.FromEngine(err)
	}
	s := c.Settings
	f := facts{
		Images: len(list), Driver: "overlay2", LoggingDriver: "json-file", NCPU: runtime.NumCPU(), MemTotal: memory(),
		KernelVersion: kernelVersion(), OperatingSystem: osName(), OSType: runtime.GOOS, Architecture: machine(),
		IndexServerAddress: "https://index.docker.io/v1/", DockerRootDir: s.Root, ServerVersion: DockerVersion,
		RegistryConfig:  registryFacts{append([]string{}, s.Insecure...), append([]string{}, s.Mirrors...)},
		SecurityOptions: []string{"name=seccomp,profile=default"}, Warnings: warnings(s),
	}
	if engine.AppArmorActive() {
		f.SecurityOptions = slices.Insert(f.SecurityOptions, 0, "name=apparmor")
	}
	if engine.SELinuxActive() && !s.Containers.NoSELinux {
		f.SecurityOptions = append(f.SecurityOptions, "name=selinux")
	}
	f.Name, _ = os.Hostname()
	if e.HasContainers() != nil {
		return f, nil
	}
	return f, f.count(ctx, e)
}

// count counts containers by docker's three states.
func (f *facts) count(ctx context.Context, e *engine.Engine) error {
	all, err := engine.Containers(ctx, e)
	if err != nil {
		return command.FromEngine(err)
	}
	f.Containers = len(all)
	for i := range all {
		switch all[i].State() {
		case container.StateRunning:
			f.ContainersRunning++
		case container.StatePaused:
			f.ContainersPaused++
		default:
			f.ContainersStopped++
		}
	}
	return nil
}

func warnings(s *settings.Settings) []string {
	var out []string
	for _, key := range s.Unknown {
		out = append(out, "WARNING: unknown setting "+key)
	}
	return out
}

func (v *Info) Run(ctx context.Context, c *command.Call, words []string) error {
	if v.security {
		return v.showSecurity(ctx, c, words)
	}
	f, err := gather(ctx, c)
	if err != nil {
		return err
	}
	switch {
	case c.Podman():
		return v.podman(c, f)
	case v.format != "":
		return format.Value(c.Out, v.format, f)
	}
	w := c.Out
	fmt.Fprint(w, "Client:\n Context:    default\n Debug Mode: false\n\nServer:\n")
	fmt.Fprintf(w, " Containers: %d\n  Running: %d\n  Paused: %d\n  Stopped: %d\n Images: %d\n Server Version: %s\n Storage Driver: %s\n",
		f.Containers, f.ContainersRunning, f.ContainersPaused, f.ContainersStopped, f.Images, f.ServerVersion, f.Driver)
	fmt.Fprintf(w, " Logging Driver: %s\n Kernel Version: %s\n Operating System: %s\n OSType: %s\n Architecture: %s\n CPUs: %d\n Total Memory: %s\n Name: %s\n",
		f.LoggingDriver, f.KernelVersion, term.Clean(f.OperatingSystem), f.OSType, f.Architecture, f.NCPU, units.BytesSize(float64(f.MemTotal)), term.Clean(f.Name))
	fmt.Fprintf(w, " Docker Root Dir: %s\n Debug Mode: false\n Registry: %s\n", f.DockerRootDir, f.IndexServerAddress)
	list(w, "Insecure Registries", f.RegistryConfig.InsecureRegistryCIDRs)
	list(w, "Registry Mirrors", f.RegistryConfig.Mirrors)
	fmt.Fprint(w, " Live Restore Enabled: true\n\n")
	for _, line := range f.Warnings {
		fmt.Fprintln(c.Err, term.Clean(line))
	}
	return nil
}

func list(w io.Writer, title string, values []string) {
	if len(values) == 0 {
		return
	}
	fmt.Fprintf(w, " %s:\n", title)
	for _, v := range values {
		fmt.Fprintf(w, "  %s\n", term.Clean(v))
	}
}

// podmanInfo is podman's document, in the shape of its templates.
type podmanInfo struct {
	Host struct {
		Arch     string `json:"arch"`
		CPUs     int    `json:"cpus"`
		Hostname string `json:"hostname"`
		Kernel   string `json:"kernel"`
		MemTotal int64  `json:"memTotal"`
		OS       string `json:"os"`
		Security struct {
			AppArmorEnabled bool `json:"apparmorEnabled"`
			Rootless        bool `json:"rootless"`
			SELinuxEnabled  bool `json:"selinuxEnabled"`
		} `json:"security"`
	} `json:"host"`
	Store struct {
		ContainerStore struct {
			Number  int `json:"number"`
			Paused  int `json:"paused"`
			Running int `json:"running"`
			Stopped int `json:"stopped"`
		} `json:"containerStore"`
		GraphDriverName string `json:"graphDriverName"`
		GraphRoot       string `json:"graphRoot"`
		ImageStore      struct {
			Number int `json:"number"`
		} `json:"imageStore"`
		RunRoot string `json:"runRoot"`
	} `json:"store"`
	Version struct {
		APIVersion string
		GoVersion  string
		OsArch     string
		Version    string
	} `json:"version"`
}

func (v *Info) podman(c *command.Call, f facts) error {
	var p podmanInfo
	p.Host.Arch, p.Host.CPUs, p.Host.Hostname, p.Host.Kernel = runtime.GOARCH, f.NCPU, f.Name, f.KernelVersion
	p.Host.Security.AppArmorEnabled = engine.AppArmorActive()
	p.Host.Security.SELinuxEnabled = engine.SELinuxActive()
	p.Host.MemTotal, p.Host.OS, p.Host.Security.Rootless = f.MemTotal, runtime.GOOS, rootless.UID() != 0
	p.Store.GraphDriverName, p.Store.GraphRoot, p.Store.RunRoot = "overlay", f.DockerRootDir, c.Settings.Run
	p.Store.ImageStore.Number = f.Images
	n := &p.Store.ContainerStore
	n.Number, n.Paused, n.Running, n.Stopped = f.Containers, f.ContainersPaused, f.ContainersRunning, f.ContainersStopped
	p.Version.APIVersion, p.Version.Version, p.Version.GoVersion = PodmanVersion, PodmanVersion, runtime.Version()
	p.Version.OsArch = runtime.GOOS + "/" + runtime.GOARCH
	switch v.format {
	case "":
		_, err := fmt.Fprintf(c.Out, "host:\n  arch: %s\n  cpus: %d\n  hostname: %s\n  kernel: %s\n  memTotal: %d\n  os: %s\n  security:\n    rootless: %t\n"+
			"store:\n  containerStore:\n    number: %d\n    paused: %d\n    running: %d\n    stopped: %d\n  graphDriverName: %s\n  graphRoot: %s\n  imageStore:\n    number: %d\n  runRoot: %s\nversion:\n  APIVersion: %s\n  GoVersion: %s\n  OsArch: %s\n  Version: %s\n\n",
			p.Host.Arch, p.Host.CPUs, term.Clean(p.Host.Hostname), p.Host.Kernel, p.Host.MemTotal, p.Host.OS, p.Host.Security.Rootless,
			n.Number, n.Paused, n.Running, n.Stopped, p.Store.GraphDriverName, p.Store.GraphRoot, p.Store.ImageStore.Number, p.Store.RunRoot,
			p.Version.APIVersion, p.Version.GoVersion, p.Version.OsArch, p.Version.Version)
		return err
	case "json":
		return format.Document(c.Out, p, "  ")
	}
	return format.Value(c.Out, v.format, p)
}

// memory is the machine's main memory in bytes (sysinfo(2)).
func memory() int64 {
	var i unix.Sysinfo_t
	if err := unix.Sysinfo(&i); err != nil {
		return 0
	}
	return int64(i.Totalram) * int64(i.Unit)
}

func machine() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return runtime.GOARCH
	}
	return unix.ByteSliceToString(u.Machine[:])
}

// osName is PRETTY_NAME of os-release(5).
func osName() string {
	f, err := os.Open("/etc/os-release")
	if err != nil {
		return "<unknown>"
	}
	defer f.Close()
	for s := bufio.NewScanner(io.LimitReader(f, 64<<10)); s.Scan(); {
		if v, ok := strings.CutPrefix(s.Text(), "PRETTY_NAME="); ok {
			return strings.Trim(v, `"`)
		}
	}
	return "<unknown>"
}
