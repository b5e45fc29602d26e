package unit

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/godbus/dbus/v5"
)

// AnnotationPrefix is the key under which a bundle sets unit properties, as
// with runc and crun; the value is a GVariant in text form.
const AnnotationPrefix = "org.systemd.property."

// allowed lists what may be set by annotation: order, words, the way of
// stopping, soft limits. Hard limits come from linux.resources alone; the slice,
// the processes and the devices are not the bundle's to give.
var allowed = map[string]bool{
	"After": true, "Before": true, "Wants": true, "Requires": true, "BindsTo": true, "PartOf": true,
	"CollectMode": true, "Description": true, "Documentation": true,
	"TimeoutStopUSec": true, "RuntimeMaxUSec": true, "KillMode": true, "KillSignal": true,
	"FinalKillSignal": true, "SendSIGHUP": true, "SendSIGKILL": true, "OOMPolicy": true,
	"ManagedOOMSwap": true, "ManagedOOMMemoryPressure": true, "ManagedOOMMemoryPressureLimit": true, "ManagedOOMPreference": true,
	"MemoryHigh": true, "MemoryLow": true, "MemoryMin": true, "CPUWeight": true, "StartupCPUWeight": true,
	"IOWeight": true, "StartupIOWeight": true,
}

const annotationCap = 4096

// annotated reads the annotations. Keys outside of the list are ignored; a value
// that cannot be read is an error that names the key.
func annotated(m map[string]string) ([]Property, error) {
	var out []Property
	for _, key := range sortedKeys(m) {
		name, ok := strings.CutPrefix(key, AnnotationPrefix)
		if !ok {
			continue
		}
		sec := ""
		if base, ok := strings.CutSuffix(name, "Sec"); ok && !strings.HasSuffix(name, "USec") {
			name, sec = base+"USec", "Sec"
		}
		if !allowed[name] {
			continue
		}
		p, err := annotation(name, m[key], sec != "")
		if err != nil {
			return nil, fmt.Errorf("annotations[%q]: %w", key, err)
		}
		out = append(out, p)
	}
	return out, nil
}

// annotation reads one value; seconds is the Sec form of a USec property.
func annotation(name, value string, seconds bool) (Property, error) {
	if len(value) > annotationCap {
		return Property{}, fmt.Errorf("more than %d bytes", annotationCap)
	}
	for i := range len(value) {
		if value[i] < 0x20 || value[i] == 0x7f {
			return Property{}, fmt.Errorf("control character %#02x", value[i])
		}
	}
	v, err := dbus.ParseVariant(value, dbus.Signature{})
	if err != nil {
		return Property{}, fmt.Errorf("%.80q is not a value: %w", value, err)
	}
	if !seconds {
		return Property{name, v.Value()}, nil
	}
	n, err := strconv.ParseFloat(fmt.Sprint(v.Value()), 64)
	if err != nil || n < 0 || n > 1e12 {
		return Property{}, fmt.Errorf("%.80q is not a number of seconds", value)
	}
	return Property{name, uint64(n * 1e6)}, nil
}
