//go:build !guard_off_landlock

package unpack

// guardLandlock leaves who makes a layer's files the folder of that layer (class V8).
const guardLandlock = true
