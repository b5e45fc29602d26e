package container

func helperAttacks() []attack { return nil }
func pathAttacks() []attack   { return nil }
func copyAttacks() []attack   { return nil }
func configAttacks() []attack { return nil }
func hostAttacks() []attack   { return nil }
