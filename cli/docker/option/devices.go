package option

import (
	"encoding/csv"
	"fmt"
	"path"
	"regexp"
	"strconv"
	"strings"
	"sync"

	"github.com/spf13/pflag"

	"berth/cli/docker/command"
	"berth/container/config"
)

// devices is --device and its kin.
type devices struct {
	paths []string
	rules []string
	gpus  []config.GPURequest
}

func (d *devices) flags(f *pflag.FlagSet) {
	f.Var(listed(&d.paths, nil), "device", "Add a host device to the container")
	f.Var(listed(&d.rules, checkRule), "device-cgroup-rule", "Add a rule to the cgroup allowed devices list")
	f.Var(&value{kind: "gpu-request", take: d.addGPU}, "gpus", "GPU devices to add to the container ('all' to pass all GPUs)")
}

var deviceRule = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^[acb] ([0-9]+|\*):([0-9]+|\*) [rwm]{1,3}$`)
})

// cdiName is VENDOR/CLASS=NAME, which no path is.
var cdiName = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_.-]*/[A-Za-z][A-Za-z0-9_-]*=[A-Za-z0-9][A-Za-z0-9_.:-]*$`)
})

func checkRule(s string) error {
	if !deviceRule().MatchString(s) {
		return fmt.Errorf("invalid device cgroup format '%s'", s)
	}
	return nil
}

func (o *Options) readDevices() error {
	c := &o.config.Devices
	c.Rules, c.GPUs = o.devices.rules, o.devices.gpus
	for _, s := range o.devices.paths {
		if cdiName().MatchString(s) {
			c.CDI = append(c.CDI, s)
			continue
		}
		d, err := device(s)
		if err != nil {
			return err
		}
		c.Add = append(c.Add, d)
	}
	return nil
}

func isPermission(s string) bool {
	seen := map[rune]bool{}
	for _, r := range s {
		if !strings.ContainsRune("rwm", r) || seen[r] {
			return false
		}
		seen[r] = true
	}
	return s != ""
}

// device is one --device: HOST[:CONTAINER][:PERMISSIONS].
func device(s string) (config.Device, error) {
	parts := strings.Split(s, ":")
	if s == "" || len(parts) > 3 {
		return config.Device{}, command.Line("bad format for path: %s", s)
	}
	d := config.Device{Host: parts[0], Container: parts[0], Permissions: "rwm"}
	switch {
	case len(parts) == 3:
		d.Container, d.Permissions = parts[1], parts[2]
	case len(parts) == 2 && isPermission(parts[1]):
		d.Permissions = parts[1]
	case len(parts) == 2:
		d.Container = parts[1]
	}
	switch {
	case !isPermission(d.Permissions):
		return config.Device{}, command.Line("bad mode specified: %s", d.Permissions)
	case !path.IsAbs(d.Container):
		return config.Device{}, command.Line("%s is not an absolute path", d.Container)
	case !path.IsAbs(d.Host):
		return config.Device{}, command.Line("%s is not an absolute path", d.Host)
	}
	d.Host, d.Container = path.Clean(d.Host), path.Clean(d.Container)
	return d, nil
}

// addGPU is one --gpus: a count, all, or fields parted by commas.
func (d *devices) addGPU(s string) error {
	fields, err := csv.NewReader(strings.NewReader(s)).Read()
	if err != nil {
		return err
	}
	g := config.GPURequest{}
	seen := map[string]bool{}
	for _, field := range fields {
		key, v, ok := strings.Cut(field, "=")
		if !ok {
			key, v = "count", field
		}
		if seen[key] {
			return fmt.Errorf("gpu request key '%s' can be specified only once", key)
		}
		seen[key] = true
		if err := setGPU(&g, key, v, field); err != nil {
			return err
		}
	}
	if !seen["count"] && len(g.IDs) == 0 {
		g.Count = 1
	}
	if g.Options == nil {
		g.Options = map[string]string{}
	}
	if len(g.Capabilities) == 0 {
		g.Capabilities = [][]string{{"gpu"}}
	}
	d.gpus = append(d.gpus, g)
	return nil
}

func setGPU(g *config.GPURequest, key, v, field string) error {
	switch key {
	case "driver":
		g.Driver = v
	case "count":
		if v == "all" {
			g.Count = -1
			return nil
		}
		n, err := strconv.Atoi(v)
		if err != nil {
			return fmt.Errorf("count must be an integer: %w", err)
		}
		g.Count = n
	case "device":
		g.IDs = strings.Split(v, ",")
	case "capabilities":
		g.Capabilities = [][]string{append(strings.Split(v, ","), "gpu")}
	case "options":
		options, err := csv.NewReader(strings.NewReader(v)).Read()
		if err != nil {
			return err
		}
		g.Options = mapOf(options)
	default:
		return fmt.Errorf("unexpected key '%s' in '%s'", key, field)
	}
	return nil
}
