package initproc

// newAttrStep makes the steps that set up the process itself.
func newAttrStep(o op) Step {
	return nil
}
