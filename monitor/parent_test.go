package monitor

import "berth/runtime"

var _ runtime.Parent = (*Conn)(nil)
