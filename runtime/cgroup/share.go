package cgroup

// Share makes the directories where they are missing, whoever is in them
// already: for processes of the engine's own, which have no limits.
func Share(c *Cgroup) error {
	for i := range c.places {
		p := &c.places[i]
		made, _, err := p.mkdirAll()
		if err == nil && hasController(p.h, "cpuset") && p.h != c.l.v2 {
			err = inheritCpuset(p, made)
		}
		if err != nil {
			return c.refuse(p, err)
		}
	}
	return nil
}
