// Package apparmor holds the AppArmor profile that containers have which ask for
// no other, and brings it into the kernel, docs/decisions/0021. What puts a
// container into a profile is runtime. Row 5.
package apparmor

import (
	"bytes"
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"time"

	"berth/base/atomicfile"
	"berth/base/fault"
	"berth/runtime"
)

// Default is the profile's name.
const Default = "berth-default"

//go:embed berth-default
var text string

// Machine is where the profile comes from and who may load it.
type Machine struct {
	// Note is a file that ends with the boot, for what was loaded, and what could not
	// be, which is then not tried again.
	Note string
	// Rootless: only looks, loading is root's.
	Rootless bool
	etc      string   // /etc/apparmor.d
	parsers  []string // where apparmor_parser may lie
	has      func(name string) bool
}

// New makes the one of this machine.
func New(note string, rootless bool) *Machine {
	return &Machine{
		Note: note, Rootless: rootless, etc: "/etc/apparmor.d", has: runtime.HasProfile,
		parsers: []string{"/usr/sbin/apparmor_parser", "/sbin/apparmor_parser", "/usr/bin/apparmor_parser", "/run/current-system/sw/bin/apparmor_parser"},
	}
}

// file is the administrator's own text of the profile, which the host's service
// loads at boot.
func (m *Machine) file() string { return m.etc + "/" + Default }

// disabled is what forbids to load it, as apparmor_parser has it.
func (m *Machine) disabled() string { return m.etc + "/disable/" + Default }

// Ready reports whether the profile is in the kernel, and looks alone.
func (m *Machine) Ready() bool { return m.has(Default) }

// Ensure is Ready; before, root loads what is not there, once a boot. An error says
// why it is not there; the second time there is none.
func (m *Machine) Ensure(ctx context.Context) (bool, error) {
	ready := m.has(Default)
	if m.Rootless {
		return ready, nil
	}
	n := m.note()
	// Loaded by somebody else, or from the file: it is theirs to load a newer one.
	if ready && (n.of == "" || n.of == digest()) || exists(m.disabled()) {
		return ready, nil
	}
	program, from := m.parser(), m.source()
	if program == "" || n.why != "" && n.of == from {
		return ready, nil
	}
	if ready && from != digest() {
		return true, nil
	}
	err := m.load(ctx, program)
	n = note{of: from}
	if err != nil {
		n.why = err.Error()
	}
	if failed := atomicfile.WriteHint(m.Note, n.bytes(), 0o644); failed != nil {
		err = errors.Join(err, failed)
	}
	return m.has(Default), err
}

// source names what would be loaded: the file as it is, or our own text.
func (m *Machine) source() string {
	st, err := os.Stat(m.file())
	if err != nil {
		return digest()
	}
	return fmt.Sprintf("%s %d", m.file(), st.ModTime().UnixNano())
}

func digest() string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// loadTime is far above what it takes.
const loadTime = 30 * time.Second

// load runs apparmor_parser.
func (m *Machine) load(ctx context.Context, program string) error {
	ctx, cancel := context.WithTimeout(ctx, loadTime)
	defer cancel()
	words := []string{"--replace", "--quiet"}
	if exists(m.file()) {
		words = append(words, m.file())
	}
	cmd := exec.CommandContext(ctx, program, words...)
	cmd.Env, cmd.Dir, cmd.WaitDelay = []string{}, "/", time.Second
	if len(words) == 2 {
		cmd.Stdin = strings.NewReader(text)
	}
	var out capped
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		said := strings.Join(strings.Fields(string(out)), " ")
		return fmt.Errorf("load the AppArmor profile %s with %s: %w: %s", Default, strings.Join(append([]string{program}, words...), " "), err, said)
	}
	return nil
}

// capped keeps the first of what a program says.
type capped []byte

func (c *capped) Write(b []byte) (int, error) {
	*c = append(*c, b[:min(len(b), 400-min(400, len(*c)))]...)
	return len(b), nil
}

func (m *Machine) parser() string {
	for _, p := range m.parsers {
		if st, err := os.Stat(p); err == nil && st.Mode().IsRegular() && st.Mode()&0o111 != 0 {
			return p
		}
	}
	return ""
}

// note is what is kept of the last attempt to load.
type note struct {
	of  string // what it was of, see source; "" none
	why string // why it failed
}

func (n note) bytes() []byte { return []byte(n.of + "\n" + strings.ReplaceAll(n.why, "\n", " ")) }

func (m *Machine) note() (n note) {
	b, err := atomicfile.ReadCapped(m.Note, 4096)
	if err != nil {
		return n
	}
	of, why, _ := bytes.Cut(b, []byte("\n"))
	return note{string(of), string(why)}
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return !errors.Is(err, fs.ErrNotExist)
}

// Missing says why the profile is not in the kernel and what mends it; next: the
// next start of a container does.
func (m *Machine) Missing() (why string, next bool) {
	own := runtime.OwnProfile()
	n := m.note()
	switch {
	case own != "":
		return "berth itself is in the profile " + own, false
	case exists(m.disabled()):
		return m.disabled() + " keeps " + Default + " out", false
	case m.Rootless && exists(m.file()):
		return Default + " is not loaded: sudo apparmor_parser -r " + m.file(), false
	case m.Rootless:
		return Default + " is not loaded: the next container that root's berth starts loads it", false
	case m.parser() == "":
		return Default + " is not loaded, which takes apparmor_parser: install the package apparmor", false
	case n.why != "" && n.of == m.source():
		return n.why + ", and is not tried again before the next boot", false
	}
	return "", true
}

// Check refuses, for an exec in a container that began in the profile, one that is
// not there any more and cannot be loaded.
func (m *Machine) Check(ctx context.Context) error {
	ready, err := m.Ensure(ctx)
	if ready || err != nil {
		return err
	}
	why, _ := m.Missing()
	return fault.New(fault.Unsupported, "the container's AppArmor profile is gone: %s", why)
}
