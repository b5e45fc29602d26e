//go:build !guard_off_procfd

package initproc

// guardProcFD keeps mounts off procfs and finds masked paths below the very
// procfs and sysfs that were mounted. Tests compile it out to show that they
// would notice (security class V4).
const guardProcFD = true
