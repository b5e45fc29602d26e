// Package image is the door of the image room: one store of images for running
// and building, shared by many processes at once with no daemon. It pulls,
// pushes, loads, saves, lists and removes images; what a container does with
// one is not its business, nor is any command line. Below it are the names
// (ref), library.Documents (manifest), blobs (content), layers (snapshot, unpack),
// names, leases and the collector (names, lease, gc), registries (registry),
// archives (archive) and signatures (trust). Row 3.
package image

import "berth/image/library"

// Image is what lists and look-ups say of one image.
type Image = library.Image

// Progress is one step forward of one blob.
type Progress = library.Progress

// Step is what happens to one blob or layer.
type Step = library.Step

// The steps, with the words that users read.
const (
	StepWaiting     = library.StepWaiting
	StepDownloading = library.StepDownloading
	StepDownloaded  = library.StepDownloaded
	StepExtracting  = library.StepExtracting
	StepPulled      = library.StepPulled
	StepExists      = library.StepExists
	StepPreparing   = library.StepPreparing
	StepPushing     = library.StepPushing
	StepPushed      = library.StepPushed
	StepPresent     = library.StepPresent
	StepMounted     = library.StepMounted
	StepRetrying    = library.StepRetrying
)
