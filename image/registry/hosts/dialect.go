package hosts

import (
	"path/filepath"
	"slices"
)

// Docker gives the folders that docker and containerd read. getenv is asked
// for HOME and XDG_CONFIG_HOME if root is false. The values of daemon.json
// (Mirrors, Insecure) are the caller's to add.
func Docker(getenv func(string) string, root bool) Options {
	o := Options{
		HostDirs: []string{"/etc/containerd/certs.d", "/etc/docker/certs.d"},
		CertDirs: []string{"/etc/docker/certs.d"},
	}
	if dir := configHome(getenv); !root && dir != "" {
		own := filepath.Join(dir, "docker/certs.d")
		o.HostDirs = slices.Insert(o.HostDirs, 0, filepath.Join(dir, "containerd/certs.d"), own)
		o.CertDirs = slices.Insert(o.CertDirs, 0, own)
	}
	return o
}

// Podman gives the files and folders that podman reads. CONTAINERS_REGISTRIES_CONF
// names a main file and switches the drop-ins off; a user's own main file
// replaces the system's, the drop-ins of both count.
func Podman(getenv func(string) string, root bool, exists func(string) bool) Options {
	o := Options{
		SecureLoopback: true,
		CertDirs:       []string{"/etc/containers/certs.d", "/etc/docker/certs.d"},
		RegistriesConf: "/etc/containers/registries.conf",
		RegistriesDirs: []string{"/etc/containers/registries.conf.d"},
		AliasFiles:     []string{"/var/cache/containers/short-name-aliases.conf"},
	}
	if dir := configHome(getenv); !root && dir != "" {
		o.CertDirs = slices.Insert(o.CertDirs, 0, filepath.Join(dir, "containers/certs.d"))
		if own := filepath.Join(dir, "containers/registries.conf"); exists(own) {
			o.RegistriesConf = own
		}
		o.RegistriesDirs = append(o.RegistriesDirs, filepath.Join(dir, "containers/registries.conf.d"))
		cache := getenv("XDG_CACHE_HOME")
		if cache == "" {
			cache = filepath.Join(getenv("HOME"), ".cache")
		}
		o.AliasFiles = []string{filepath.Join(cache, "containers/short-name-aliases.conf")}
	}
	if file := getenv("CONTAINERS_REGISTRIES_CONF"); file != "" {
		o.RegistriesConf, o.RegistriesDirs = file, nil
	}
	return o
}

// configHome is XDG_CONFIG_HOME or its default, "" if there is no home.
func configHome(getenv func(string) string) string {
	if dir := getenv("XDG_CONFIG_HOME"); dir != "" {
		return dir
	}
	if home := getenv("HOME"); home != "" {
		return filepath.Join(home, ".config")
	}
	return ""
}
