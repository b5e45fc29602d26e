package engine

import (
	"fmt"
	"testing"

	"berth/base/fault"
	"berth/container"
	"berth/container/config"
)

func tcp(host, inside, count uint16) config.Port {
	return config.Port{Protocol: "tcp", Host: host, Container: inside, Count: count}
}

// What --publish-rm takes, of what was published in which way.
func TestUnpublish(t *testing.T) {
	at := tcp(8080, 80, 1)
	at.Address = "127.0.0.1"
	chosen := tcp(8000, 80, 1)
	chosen.HostEnd = 8010
	for _, c := range []struct {
		what    string
		had     []config.Port
		all     bool
		gone    config.Port
		decided []config.Port
		want    []config.Port // nil with found false
		found   bool
	}{
		{"by the container's port", []config.Port{tcp(8080, 80, 1), tcp(8081, 81, 1)}, false, tcp(0, 80, 0), nil, []config.Port{tcp(8081, 81, 1)}, true},
		{"as it was published", []config.Port{tcp(8080, 80, 1), tcp(8081, 80, 1)}, false, tcp(8081, 80, 1), nil, []config.Port{tcp(8080, 80, 1)}, true},
		{"all of one port", []config.Port{tcp(8080, 80, 1), tcp(8081, 80, 1)}, false, tcp(0, 80, 1), nil, nil, true},
		{"by address", []config.Port{tcp(8081, 80, 1), at}, false, at, nil, []config.Port{tcp(8081, 80, 1)}, true},
		{"another address", []config.Port{tcp(8080, 80, 1)}, false, at, nil, nil, false},
		{"another host port", []config.Port{tcp(8080, 80, 1)}, false, tcp(8082, 80, 1), nil, nil, false},
		{"another protocol", []config.Port{tcp(8080, 80, 1)}, false, config.Port{Protocol: "udp", Container: 80, Count: 1}, nil, nil, false},
		{"a range", []config.Port{tcp(8000, 8000, 10)}, false, tcp(8000, 8000, 10), nil, nil, true},
		{"the middle of one", []config.Port{tcp(8000, 8000, 10)}, false, tcp(8004, 8004, 2), nil, []config.Port{tcp(8000, 8000, 4), tcp(8006, 8006, 4)}, true},
		{"its end and more", []config.Port{tcp(9000, 8000, 10)}, false, tcp(0, 8008, 5), nil, []config.Port{tcp(9000, 8000, 8)}, true},
		{"the last ports", []config.Port{tcp(0, 65530, 6)}, false, tcp(0, 65535, 1), nil, []config.Port{tcp(0, 65530, 5)}, true},
		{"one of any port by what it is", []config.Port{tcp(0, 80, 1), tcp(0, 81, 1)}, false, tcp(49153, 80, 1), []config.Port{tcp(49153, 80, 1), tcp(49154, 81, 1)}, []config.Port{tcp(0, 81, 1)}, true},
		{"one of any port by what it is not", []config.Port{tcp(0, 80, 1)}, false, tcp(49154, 80, 1), []config.Port{tcp(49153, 80, 1)}, nil, false},
		{"one of some ports by what it is", []config.Port{chosen}, false, tcp(8003, 80, 1), []config.Port{tcp(8003, 80, 1)}, nil, true},
		{"one of some ports as it was published", []config.Port{chosen}, false, chosen, nil, nil, true},
		{"one of -P", []config.Port{tcp(8080, 80, 1)}, true, tcp(0, 91, 1), nil, []config.Port{tcp(8080, 80, 1), tcp(0, 90, 1), tcp(0, 92, 1)}, true},
		{"none of -P", nil, true, tcp(0, 95, 1), nil, nil, false},
	} {
		rec := &container.Record{Name: "one"}
		rec.Config.Network.Publish, rec.Config.Network.PublishAll = c.had, c.all
		rec.Resolved.Expose = []config.Port{tcp(0, 90, 3)}
		err := unpublish(rec, c.gone, c.decided)
		if !c.found {
			if !fault.Is(err, fault.NotFound) {
				t.Errorf("%s: %v", c.what, err)
			}
			continue
		}
		if got := rec.Config.Network.Publish; err != nil || fmt.Sprint(got) != fmt.Sprint(c.want) && len(got)+len(c.want) > 0 || rec.Config.Network.PublishAll {
			t.Errorf("%s: %v, %v, want %v", c.what, got, err, c.want)
		}
	}
}
