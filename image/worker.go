package image

import "berth/image/unpack"

// WorkerWord is the program's hidden first word under which it is the confined
// process that unpacks layers; Worker is that process.
const WorkerWord = unpack.WorkerWord

func Worker(args []string) int { return unpack.WorkerMain(args) }
