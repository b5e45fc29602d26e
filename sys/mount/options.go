package mount

import (
	"errors"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Propagation is a change of a mount's propagation type.
type Propagation struct {
	Type uint64 // MS_SHARED, MS_SLAVE, MS_PRIVATE, MS_UNBINDABLE
	Rec  bool
}

// Range maps Size ids that start at Inside to ids that start at Outside.
type Range struct{ Inside, Outside, Size uint32 }

// Options is a parsed list of fstab-style options as the OCI runtime-spec lists
// them (config.md, "Linux mount options"), with those of runc and crun.
type Options struct {
	Bind    bool // bind or rbind
	Rec     bool // rbind
	Remount bool
	Attr    Attr // of the mount
	RecAttr Attr // of it and all below
	// Propagation lists the changes in the order given.
	Propagation []Propagation
	// Flags are the file system's flags that every file system knows: sync, dirsync, …
	Flags []Param
	// Data is all that is left: the file system's own parameters.
	Data   []Param
	CopyUp bool // tmpcopyup
	// IDMap asks for id mapping, IDMapRec for that of all below, too. UIDs and
	// GIDs are set if the option brought maps of its own (crun's form).
	IDMap, IDMapRec bool
	UIDs, GIDs      []Range
	CopySymlink     bool // copy-symlink: a source that is a link is made again
	SrcNoFollow     bool // src-nofollow: a source that is a link is mounted itself
	DestNoFollow    bool // dest-nofollow: so is a destination covered
}

// word is one word and what it stands for.
type word[T any] struct {
	name string
	is   T
}

func lookUp[T any](table []word[T], name string) (is T, ok bool) {
	for i := range table {
		if table[i].name == name {
			return table[i].is, true
		}
	}
	return is, false
}

// change is what a word does to the attributes: a field is cleared, then set.
type change struct{ set, clear uint64 }

// attrWords change attributes of a mount; with an "r" in front of all below, too.
// The tables are searched in order: maps would be built at every start.
var attrWords = []word[change]{
	{"ro", change{set: unix.MOUNT_ATTR_RDONLY}},
	{"rw", change{clear: unix.MOUNT_ATTR_RDONLY}},
	{"nosuid", change{set: unix.MOUNT_ATTR_NOSUID}},
	{"suid", change{clear: unix.MOUNT_ATTR_NOSUID}},
	{"nodev", change{set: unix.MOUNT_ATTR_NODEV}},
	{"dev", change{clear: unix.MOUNT_ATTR_NODEV}},
	{"noexec", change{set: unix.MOUNT_ATTR_NOEXEC}},
	{"exec", change{clear: unix.MOUNT_ATTR_NOEXEC}},
	{"nodiratime", change{set: unix.MOUNT_ATTR_NODIRATIME}},
	{"diratime", change{clear: unix.MOUNT_ATTR_NODIRATIME}},
	{"nosymfollow", change{set: unix.MOUNT_ATTR_NOSYMFOLLOW}},
	{"symfollow", change{clear: unix.MOUNT_ATTR_NOSYMFOLLOW}},
	{"noatime", change{set: unix.MOUNT_ATTR_NOATIME, clear: unix.MOUNT_ATTR__ATIME}},
	{"strictatime", change{set: unix.MOUNT_ATTR_STRICTATIME, clear: unix.MOUNT_ATTR__ATIME}},
	{"relatime", change{clear: unix.MOUNT_ATTR__ATIME}},
	{"atime", change{clear: unix.MOUNT_ATTR__ATIME}},
	{"nostrictatime", change{clear: unix.MOUNT_ATTR__ATIME}},
	{"norelatime", change{}}, // what is left then is the kernel's default, relatime
}

var propagationWords = []word[Propagation]{
	{"private", Propagation{Type: unix.MS_PRIVATE}},
	{"shared", Propagation{Type: unix.MS_SHARED}},
	{"slave", Propagation{Type: unix.MS_SLAVE}},
	{"unbindable", Propagation{Type: unix.MS_UNBINDABLE}},
	{"rprivate", Propagation{Type: unix.MS_PRIVATE, Rec: true}},
	{"rshared", Propagation{Type: unix.MS_SHARED, Rec: true}},
	{"rslave", Propagation{Type: unix.MS_SLAVE, Rec: true}},
	{"runbindable", Propagation{Type: unix.MS_UNBINDABLE, Rec: true}},
}

// PropagationOf reads a word like "rshared".
func PropagationOf(word string) (Propagation, bool) { return lookUp(propagationWords, word) }

// flagWords are handed to every file system: fsconfig(2).
var flagWords = []string{"acl", "async", "dirsync", "lazytime", "mand", "noacl", "nolazytime", "nomand", "sync"}

// idleWords have no effect on a mount made by descriptor.
var idleWords = []string{"", "defaults", "iversion", "loud", "noiversion", "notmpcopyup", "silent"}

var switchWords = []word[func(*Options)]{
	{"bind", func(o *Options) { o.Bind, o.Rec = true, false }},
	{"rbind", func(o *Options) { o.Bind, o.Rec = true, true }},
	{"remount", func(o *Options) { o.Remount = true }},
	{"tmpcopyup", func(o *Options) { o.CopyUp = true }},
	{"idmap", func(o *Options) { o.IDMap = true }},
	{"ridmap", func(o *Options) { o.IDMap, o.IDMapRec = true, true }},
	{"copy-symlink", func(o *Options) { o.CopySymlink = true }},
	{"src-nofollow", func(o *Options) { o.SrcNoFollow = true }},
	{"dest-nofollow", func(o *Options) { o.DestNoFollow = true }},
}

// Limits of an option list; mount(2) takes a page, fsconfig(2) 255 bytes each.
const (
	maxOptions = 1024
	maxOption  = 4095
	maxRanges  = 340 // of an id map, user_namespaces(7)
)

// Parse reads an option list. Later words override earlier ones. Errors name
// the option.
func Parse(options []string) (*Options, error) {
	if len(options) > maxOptions {
		return nil, errors.New("more than " + strconv.Itoa(maxOptions) + " options")
	}
	o := &Options{}
	for _, word := range options {
		if len(word) > maxOption {
			return nil, errors.New("option " + strconv.Quote(word[:32]) + "… is longer than " + strconv.Itoa(maxOption) + " bytes")
		}
		if strings.IndexByte(word, 0) >= 0 {
			return nil, errors.New("option " + strconv.Quote(word) + " has a zero byte")
		}
		if err := o.add(word); err != nil {
			return nil, err
		}
	}
	return o, nil
}

func (o *Options) add(word string) error {
	if c, ok := lookUp(attrWords, word); ok {
		o.Attr.apply(c)
		return nil
	}
	if p, ok := PropagationOf(word); ok {
		o.Propagation = append(o.Propagation, p)
		return nil
	}
	if f, ok := lookUp(switchWords, word); ok {
		f(o)
		return nil
	}
	if rest, ok := strings.CutPrefix(word, "r"); ok {
		if c, ok := lookUp(attrWords, rest); ok {
			o.RecAttr.apply(c)
			return nil
		}
	}
	if slices.Contains(flagWords, word) {
		o.Flags = append(o.Flags, Param{Key: word, Flag: true})
		return nil
	}
	if slices.Contains(idleWords, word) {
		return nil
	}
	key, value, ok := strings.Cut(word, "=")
	if ok && (key == "idmap" || key == "ridmap") {
		o.IDMap, o.IDMapRec = true, key == "ridmap"
		if err := o.parseIDMap(value); err != nil {
			return errors.New("option " + strconv.Quote(word) + ": " + err.Error())
		}
		return nil
	}
	if key == "" {
		return errors.New("option " + strconv.Quote(word) + " has no name")
	}
	o.Data = append(o.Data, Param{Key: key, Value: value, Flag: !ok})
	return nil
}

func (a *Attr) apply(c change) {
	a.Set = a.Set&^c.clear | c.set
	a.Clear = a.Clear&^c.set | c.clear
}

// parseIDMap reads "uids=0-1000-1#1-100000-10;gids=0-1000-1": ranges of id
// inside, id outside and count.
func (o *Options) parseIDMap(s string) error {
	for part := range strings.SplitSeq(s, ";") {
		key, value, _ := strings.Cut(part, "=")
		ranges, err := parseRanges(value)
		if err != nil {
			return err
		}
		switch key {
		case "uids":
			o.UIDs = ranges
		case "gids":
			o.GIDs = ranges
		default:
			return errors.New("unknown word " + strconv.Quote(key))
		}
	}
	if len(o.UIDs) == 0 || len(o.GIDs) == 0 {
		return errors.New("needs both uids= and gids=")
	}
	return nil
}

func parseRanges(s string) ([]Range, error) {
	var ranges []Range
	for text := range strings.SplitSeq(s, "#") {
		f := strings.Split(text, "-")
		if len(f) != 3 || len(ranges) == maxRanges {
			return nil, errors.New("bad range " + strconv.Quote(text))
		}
		var n [3]uint32
		for i := range f {
			v, err := strconv.ParseUint(f[i], 10, 32)
			if err != nil {
				return nil, errors.New("bad range " + strconv.Quote(text))
			}
			n[i] = uint32(v)
		}
		ranges = append(ranges, Range{Inside: n[0], Outside: n[1], Size: n[2]})
	}
	return ranges, nil
}

// MountOptions lists, in order, the words that Parse knows by itself.
func MountOptions() []string {
	var words []string
	for _, w := range attrWords {
		words = append(words, w.name, "r"+w.name)
	}
	for _, w := range propagationWords {
		words = append(words, w.name)
	}
	for _, w := range switchWords {
		words = append(words, w.name)
	}
	words = append(words, flagWords...)
	words = append(words, idleWords[1:]...)
	slices.Sort(words)
	return words
}
