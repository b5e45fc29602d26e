package runtime

import (
	"github.com/opencontainers/runtime-spec/specs-go/features"

	"berth/runtime/caps"
	"berth/runtime/feature"
)

// Features returns what this runtime can do, without annotations.
func Features() *features.Features { return feature.All() }

// Capabilities are the names of all that this kernel knows.
func Capabilities() []string { return caps.Known(caps.Last()) }
