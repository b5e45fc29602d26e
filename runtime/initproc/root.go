package initproc

// newRootStep makes the steps that build the container's root.
func newRootStep(o op) Step {
	return nil
}
