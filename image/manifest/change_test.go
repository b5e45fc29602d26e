package manifest

import (
	"encoding/json"
	"strings"
	"testing"

	"berth/base/fault"
)

func TestChange(t *testing.T) {
	for _, c := range []struct {
		before Defaults
		lines  []string
		want   string
	}{
		{Defaults{}, []string{`CMD ["a","b c"]`}, `{"Cmd":["a","b c"]}`},
		{Defaults{}, []string{`cmd echo hi`}, `{"Cmd":["/bin/sh","-c","echo hi"]}`},
		{Defaults{}, []string{`CMD=/x`}, `{"Cmd":["/bin/sh","-c","/x"]}`},
		{Defaults{Cmd: Words{"old"}}, []string{`ENTRYPOINT ["/e"]`}, `{"Entrypoint":["/e"]}`},
		{Defaults{}, []string{`CMD ["new"]`, `ENTRYPOINT ["/e"]`}, `{"Entrypoint":["/e"],"Cmd":["new"]}`},
		{Defaults{}, []string{`SHELL ["/bin/ash","-ec"]`, `CMD x`}, `{"Cmd":["/bin/ash","-ec","x"],"Shell":["/bin/ash","-ec"]}`},
		{Defaults{Env: []string{"A=1", "PATH=/bin"}}, []string{`ENV PATH=$PATH:/x B="two words" C=a\ b A=9`},
			`{"Env":["A=9","PATH=/bin:/x","B=two words","C=a b"]}`},
		{Defaults{Env: []string{"A=1"}}, []string{`ENV OLD form of $A`}, `{"Env":["A=1","OLD=form of 1"]}`},
		{Defaults{Env: []string{"A=1"}}, []string{`ENV X='$A' Y="$A" Z=\$A U=${U:-d}${A:+s}${B}`}, `{"Env":["A=1","X=$A","Y=1","Z=$A","U=ds"]}`},
		{Defaults{}, []string{`EXPOSE 80 443/tcp 53/udp`}, `{"ExposedPorts":{"443/tcp":{},"53/udp":{},"80/tcp":{}}}`},
		{Defaults{}, []string{`LABEL a=b "c d"="e f"`}, `{"Labels":{"a":"b","c d":"e f"}}`},
		{Defaults{}, []string{`VOLUME /a /b`, `VOLUME ["/c"]`}, `{"Volumes":{"/a":{},"/b":{},"/c":{}}}`},
		{Defaults{WorkingDir: "/w"}, []string{`WORKDIR x/../y`}, `{"WorkingDir":"/w/y"}`},
		{Defaults{WorkingDir: "/w"}, []string{`WORKDIR /z/`}, `{"WorkingDir":"/z"}`},
		{Defaults{}, []string{`USER app:grp`, `STOPSIGNAL SIGINT`}, `{"User":"app:grp","StopSignal":"SIGINT"}`},
		{Defaults{}, []string{`ONBUILD RUN make`}, `{"OnBuild":["RUN make"]}`},
		{Defaults{}, []string{`HEALTHCHECK NONE`}, `{"Healthcheck":{"Test":["NONE"]}}`},
		{Defaults{}, []string{`HEALTHCHECK --interval=5s --retries=3 CMD curl x`},
			`{"Healthcheck":{"Test":["CMD-SHELL","curl x"],"Interval":5000000000,"Retries":3}}`},
		{Defaults{}, []string{`HEALTHCHECK CMD ["a","b"]`}, `{"Healthcheck":{"Test":["CMD","a","b"]}}`},
	} {
		d := c.before
		if err := Change(&d, c.lines); err != nil {
			t.Errorf("%q: %v", c.lines, err)
			continue
		}
		if got, _ := json.Marshal(d); string(got) != c.want {
			t.Errorf("%q:\n got %s\nwant %s", c.lines, got, c.want)
		}
	}
	for line, want := range map[string]string{
		"RUN x": `run is not a valid change command`, "USER": "requires at least one argument", "": "not a valid change command",
		"ENV A": "has no value", "ENV A=b c": "not of the form key=value", "ENV A='b": "looking for matching '",
		"EXPOSE x": "is no port", "VOLUME rel": "is no absolute path", "ONBUILD ONBUILD x": "chaining ONBUILD",
		"ONBUILD FROM x": "isn't allowed as an ONBUILD trigger", "HEALTHCHECK x": "NONE or CMD", "HEALTHCHECK --retries=0 CMD x": "at least 1",
		"SHELL x": "JSON form", "USER a\nb": "no plain line", "ENV A=${": "cannot be read", "ENV A=${B:-x": "missing",
		"HEALTHCHECK --interval=x CMD y": "no option of HEALTHCHECK",
	} {
		if err := Change(&Defaults{}, []string{line}); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v; want %q", line, err, want)
		}
	}
}

func FuzzChange(f *testing.F) {
	for _, s := range []string{`ENV A="b $C" D=${E:-${F}}`, `CMD ["x"]`, `HEALTHCHECK --interval=1s CMD x`, `LABEL a b`,
		`EXPOSE 1-2/udp`, `VOLUME ["/x"]`, `WORKDIR \`, `USER $`, `ENV "`, `ONBUILD CMD`, `ENV A=${A:+`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, line string) {
		d := Defaults{Env: []string{"A=1"}}
		if err := Change(&d, []string{line}); err != nil {
			return
		}
		made, err := NewConfig(Config{OS: "linux", Architecture: "amd64", Defaults: d})
		if err != nil {
			return // keys that differ in case alone, for one
		}
		if _, err := made.Defaults.VolumePaths(); err != nil {
			t.Fatal(err)
		}
		if _, err := made.Defaults.Ports(); err != nil {
			t.Fatal(err)
		}
	})
}
