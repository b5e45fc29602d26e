package seccomp

import (
	"encoding/json"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"pgregory.net/rapid"
)

// FuzzCompile feeds profiles as they come from a config.json: whatever it is,
// there is a one-line error that names the field, or a program that the kernel
// takes and that means what the reference says.
func FuzzCompile(f *testing.F) {
	small, err := os.ReadFile("testdata/small.json")
	if err != nil {
		f.Fatal(err)
	}
	whole, err := json.Marshal(mobyProfile(f, &x86Machine))
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{
		string(small), string(whole), `{}`, `{"defaultAction":"SCMP_ACT_KILL","architectures":["SCMP_ARCH_X32","SCMP_ARCH_S390X"]}`,
		`{"defaultAction":"SCMP_ACT_TRACE","defaultErrnoRet":5,"flags":[],"listenerPath":"/a","syscalls":[
			{"names":["ioctl"],"action":"SCMP_ACT_NOTIFY","args":[{"index":1,"value":4294967295,"valueTwo":21522,"op":"SCMP_CMP_MASKED_EQ"}]},
			{"names":["ioctl","personality"],"action":"SCMP_ACT_ERRNO","errnoRet":25,"args":[{"index":1,"value":1,"op":"SCMP_CMP_GE"},{"index":1,"value":9,"op":"SCMP_CMP_NE"},{"index":5,"value":18446744073709551615,"op":"SCMP_CMP_LE"}]}]}`,
		`{"defaultAction":"SCMP_ACT_KILL_PROCESS","syscalls":[{"names":["accept","semop"],"action":"SCMP_ACT_LOG","args":[{"index":0,"value":3,"op":"SCMP_CMP_LT"},{"index":1,"value":3,"op":"SCMP_CMP_GT"}]}]}`,
	} {
		f.Add([]byte(seed), uint64(1))
	}
	f.Fuzz(func(t *testing.T, text []byte, seed uint64) {
		p := &specs.LinuxSeccomp{}
		if json.Unmarshal(text, p) != nil {
			return
		}
		rules := 0
		for _, e := range p.Syscalls {
			rules += len(e.Names) * (1 + len(e.Args))
		}
		for _, m := range []*machine{&x86Machine, &armMachine} { // in order: a fuzzer wants equal runs
			_, err := compileFor(m, p)
			if err != nil && !strings.Contains(err.Error(), "contradict") {
				if line := err.Error(); !strings.HasPrefix(line, "linux.seccomp.") || strings.ContainsAny(line, "\n\r") || len(line) > 400 {
					t.Errorf("error %q", line)
				}
				continue
			}
			if rules < 200 || len(text) == len(whole) {
				numbers := namedNumbers(m, p)
				if len(numbers) > 400 {
					numbers = numbers[:400]
				}
				trial{m, rand.New(rand.NewPCG(seed, 0)), numbers, 3}.agree(t, p)
			}
		}
	})
}

// FuzzMeaning draws well-formed profiles from the fuzzer's bytes.
func FuzzMeaning(f *testing.F) {
	f.Fuzz(rapid.MakeFuzz(func(t *rapid.T) {
		m := rapid.SampledFrom([]*machine{&x86Machine, &armMachine}).Draw(t, "machine")
		p := profiles(m, rapid.Bool().Draw(t, "mixed")).Draw(t, "profile")
		trial{m, rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0)), namedNumbers(m, p), 10}.agree(t, p)
	}))
}
