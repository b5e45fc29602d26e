package library

import "github.com/opencontainers/go-digest"

// Step is what happens to one blob or layer.
type Step string

const (
	StepWaiting     Step = "Waiting"
	StepDownloading Step = "Downloading"
	StepDownloaded  Step = "Download complete"
	StepExtracting  Step = "Extracting"
	StepPulled      Step = "Pull complete"
	StepExists      Step = "Already exists"
	StepPreparing   Step = "Preparing"
	StepPushing     Step = "Pushing"
	StepPushed      Step = "Pushed"
	StepPresent     Step = "Layer already exists"
	StepMounted     Step = "Mounted from"
	StepRetrying    Step = "Retrying"
)

// Progress is one step forward of one blob. Current and Total are bytes of the
// blob as it travels; Total is 0 when it is not known. It is called from
// several goroutines, but never twice at once.
type Progress struct {
	// Ref is the tag at hand when a request names several, else "".
	Ref     string
	Digest  digest.Digest // of the blob; of the manifest for the whole image
	Step    Step
	Current int64
	Total   int64
	Detail  string // "Mounted from": the repository; "Retrying": the reason
}
