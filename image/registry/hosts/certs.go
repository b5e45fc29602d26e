package hosts

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"berth/base/fault"
)

// addCertificates adds what certs.d holds for the endpoint's host:port (docker
// and podman, containers-certs.d(5)): *.crt are authorities, X.cert and X.key
// a pair of ours. The first folder that exists counts.
func (t *Table) addCertificates(e *Endpoint) error {
	if e.Scheme != "https" || !validHost(e.Host) {
		return nil
	}
	if dir := t.o.CertDir; dir != "" {
		found, err := readCertDir(dir, &e.TLS)
		if err == nil && !found {
			err = fault.New(fault.NotFound, "read certificates: %s is no folder that can be read", dir)
		}
		return err
	}
	names := []string{e.Host}
	if e.Registry != "" && e.Registry != e.Host && validHost(e.Registry) {
		names = append(names, e.Registry)
	}
	for _, dir := range t.o.CertDirs {
		for _, name := range names {
			found, err := readCertDir(filepath.Join(dir, name), &e.TLS)
			if err != nil || found {
				return err
			}
		}
	}
	return nil
}

func readCertDir(dir string, tls *TLS) (found bool, err error) {
	entries, err := os.ReadDir(dir)
	if fault.Is(err, fault.NotFound) || fault.Is(err, fault.Permission) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read certificates: %w", err)
	}
	if len(entries) > maxEntries {
		return false, fault.New(fault.Invalid, "read certificates of %s: more than %d files", dir, maxEntries)
	}
	have := map[string]bool{}
	for _, f := range entries {
		have[f.Name()] = true
	}
	for _, f := range entries {
		name := f.Name()
		file := filepath.Join(dir, name)
		switch filepath.Ext(name) {
		case ".crt":
			tls.CA = append(tls.CA, file)
		case ".cert":
			key := strings.TrimSuffix(name, ".cert") + ".key"
			if !have[key] {
				return false, fault.New(fault.Invalid, "read certificates of %s: missing key %s for client certificate %s", dir, key, name)
			}
			tls.Client = append(tls.Client, Pair{Cert: file, Key: filepath.Join(dir, key)})
		case ".key":
			if cert := strings.TrimSuffix(name, ".key") + ".cert"; !have[cert] {
				return false, fault.New(fault.Invalid, "read certificates of %s: missing client certificate %s for key %s", dir, cert, name)
			}
		}
	}
	return true, nil
}
