package runtime

import (
	"github.com/opencontainers/runtime-spec/specs-go/features"

	"berth/runtime/feature"
)

// Features returns what this runtime can do, without annotations.
func Features() *features.Features { return feature.All() }
