//go:build !cgo

package unpack

func withoutCgo() {}
