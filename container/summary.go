package container

import (
	"path/filepath"

	"berth/base/atomicfile"
	"berth/base/codec"
	"berth/base/fault"
	"berth/base/flock"
	"berth/container/config"
)

// summaryForm begins a summary's file: another form is made again from the
// record. It is coded, not JSON, as a list of a thousand would spend more time on
// JSON than on all else.
const summaryForm = "summary 3\n"

// encode gives the bytes of a summary's file.
func (s *Summary) encode() []byte {
	c := codec.Coder{Buf: []byte(summaryForm)}
	s.code(&c)
	return atomicfile.Seal(c.Buf)
}

// decodeSummary reads encode's bytes. Error: Invalid.
func decodeSummary(b []byte) (*Summary, error) {
	var s Summary
	body, ok := atomicfile.Unseal(summaryForm, b)
	if !ok || !codec.Whole(body, s.code) {
		return nil, fault.New(fault.Invalid, "a summary is torn or of another form")
	}
	return &s, nil
}

func (s *Summary) code(c *codec.Coder) {
	c.Int(&s.Version)
	c.Str((*string)(&s.ID))
	c.Str(&s.Name)
	c.Time(&s.Created)
	c.Str(&s.Image)
	c.Str(&s.ImageID)
	c.Strs(&s.Command)
	c.Map(&s.Labels)
	for _, list := range []*[]string{&s.Networks, &s.Volumes, &s.Targets} {
		c.Strs(list)
	}
	codec.List(c, &s.Expose, codePort)
	codec.List(c, &s.Publish, codePort)
	c.Str(&s.Restart.Policy)
	c.Int(&s.Restart.Retries)
	c.Bool(&s.Health)
	c.Bool(&s.Remove)
	c.Str(&s.User)
	c.Strs(&s.Groups)
}

func codePort(c *codec.Coder, p *config.Port) {
	c.Str(&p.Protocol)
	for _, n := range []*uint16{&p.Container, &p.Host, &p.HostEnd, &p.Count} {
		c.U16(n)
	}
	c.Str(&p.Address)
}

func writeSummary(home string, s *Summary) error {
	return atomicfile.Write(filepath.Join(home, summaryFile), s.encode(), 0o600)
}

// readSummary reads what lists show, from the record if the summary is missing,
// torn or of another form.
func readSummary(home string, id ID) (*Summary, error) {
	sum, _, err := readOrMake(home, id)
	return sum, err
}

func readOrMake(home string, id ID) (sum *Summary, made bool, err error) {
	b, err := atomicfile.ReadCapped(filepath.Join(home, summaryFile), maxFacts)
	if err == nil {
		if sum, err := decodeSummary(b); err == nil && sum.ID == id && sum.Version == recordVersion {
			return sum, false, nil
		}
	}
	rec, err := readRecord(home, id)
	if err != nil {
		return nil, false, err
	}
	return rec.summary(), true, nil
}

// mendSummary writes the summary anew, unless a verb that may change the record is
// at work: then the next list does.
func mendSummary(s *disk, home string, id ID) {
	lock, err := flock.TryLock(s.lockPath(id))
	if err != nil {
		return
	}
	defer func() { _ = s.dropLock(lock, id) }()
	if sum, made, err := readOrMake(home, id); err == nil && made {
		_ = writeSummary(home, sum)
	}
}
