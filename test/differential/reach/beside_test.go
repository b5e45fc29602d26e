package reach

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"berth/test/netns"
)

// besideMark is set where the firewalls of the machine itself may be switched: in
// the test guest, by its suite beside.
const besideMark = "BERTH_BESIDE"

// portTheirs is one that dockerd's container beside ours does not publish.
const portTheirs = 81

// daemonSettings are dockerd's: as startDocker has it. Containers live on when it is
// started anew.
const daemonSettings = "/etc/docker/daemon.json"

// systemDocker is the dockerd of the machine, on a subnet, with its image.
func systemDocker(w *world, bip string) dockerd {
	w.t.Helper()
	if err := os.MkdirAll("/etc/docker", 0o755); err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(daemonSettings, []byte(`{"experimental": true, "ip6tables": true, "live-restore": true, "bip": "`+bip+`"}`), 0o644); err != nil {
		w.t.Fatal(err)
	}
	w.line("systemctl stop docker")
	w.anew()
	w.line("systemctl start docker")
	return dockerd{"unix:///run/docker.sock"}
}

// anew has the host forward nothing: where it does, dockerd drops nothing as it comes.
func (w *world) anew() {
	w.t.Helper()
	w.line("sysctl -qw net.ipv4.ip_forward=0")
}

// zones starts firewalld, which is there before its rules are.
func (w *world) zones() {
	w.t.Helper()
	w.line("systemctl start firewalld")
	for range 300 {
		if _, err := w.host.Run("firewall-cmd", "--state"); err == nil {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	w.t.Fatal("firewalld does not come up")
}

// beside is one host, on which engines and firewalls come and go.
type beside struct {
	*world
	theirs map[string]measured // dockerd's, by the firewall beside it
	began  time.Time
}

// Who reaches whom with berth beside ufw, firewalld and dockerd, each as Debian
// installs it: each cell as dockerd's own beside the same, with the same clauses.
func TestBeside(t *testing.T) {
	if os.Getenv(besideMark) == "" {
		t.Skip("needs a machine of its own: test/guest/run --packages test/guest/beside.txt test/guest/beside.sh")
	}
	b := &beside{newWorldOn(t, netns.Enter(t, "/proc/self/ns/net"), ""), map[string]measured{}, time.Now()}
	// What these show has little to do with firewalls, and the guest is slow.
	b.without = []string{"rogue", "inner", "escape", "nowhere", "shared"}

	// What dockerd has.
	docker := systemDocker(b.world, "172.17.0.1/16")
	docker.load(b.world)
	b.lenient = true
	b.populate(docker, false)
	b.say("dockerd's containers")
	b.refer("nothing")
	b.line("ufw --force enable")
	b.refer("ufw")
	b.line("ufw --force disable")
	b.zones()
	b.anew()
	b.line("systemctl restart docker") // it comes after firewalld, as at a boot
	b.refer("firewalld")
	b.line("systemctl stop firewalld")
	b.clear("rm", "-f")

	// Beside dockerd, which has a container still.
	systemDocker(b.world, "172.30.9.1/24")
	b.lenient = false
	b.in(docker, "run", "-d", "--name", "theirs", "-p", "8090:80", docker.image(), "sleep", "10000")
	b.serve(b.enter("theirs"), "theirs", portInside, all...)
	b.serve(b.at["theirs"], "theirs", portTheirs, all...)
	rules := b.rules()
	b.populate(startBerth(b.world), false)
	b.say("berth's containers")
	b.hold("dockerd", "nothing")
	b.neighbours(docker)
	b.line("systemctl restart docker")
	b.do("network", "reload", "--all")
	b.hold("dockerd, started anew", "nothing")
	b.line("ufw --force enable")
	b.do(b.engine.look()...)
	b.hold("dockerd and ufw", "ufw")
	b.neighbours(docker)
	if now := b.rules(); now != rules {
		t.Errorf("the rules of dockerd were\n%s\nand are now\n%s", rules, now)
	}
	b.in(docker, "rm", "-f", "theirs")
	delete(b.at, "theirs")

	// It goes, with all rules that there are. Then the others alone.
	for _, line := range []string{"ufw --force disable", "systemctl stop docker.socket docker containerd", "nft flush ruleset", "ip link delete docker0"} {
		b.line(line)
	}
	b.anew()
	b.line("ufw --force enable")
	b.do(b.engine.look()...)
	b.hold("ufw", "ufw")
	b.line("ufw reload")
	b.do(b.engine.look()...)
	b.hold("ufw, loaded anew", "ufw")
	b.line("ufw --force disable")
	b.zones()
	b.do(b.engine.look()...)
	b.hold("firewalld", "firewalld")
	b.line("firewall-cmd --reload")
	b.do("network", "reload", "--all")
	b.hold("firewalld, loaded anew", "firewalld")
	b.clear("rm", "-f")
	b.line("systemctl stop firewalld")
	if out := b.line("nft list ruleset"); strings.Contains(out, "BERTH") {
		t.Errorf("rules are left:\n%s", out)
	}
}

func (b *beside) say(what string) {
	b.t.Logf("%3.0f s: %s", time.Since(b.began).Seconds(), what)
}

// in runs a command of an engine.
func (b *beside) in(e engine, words ...string) {
	b.t.Helper()
	was := b.engine
	b.engine = e
	b.do(words...)
	b.engine = was
}

// clear removes all containers and networks of the engine.
func (b *beside) clear(words ...string) {
	b.t.Helper()
	for _, c := range containers {
		if b.at[c.name] != nil {
			words = append(words, c.name)
			delete(b.at, c.name)
		}
	}
	b.do(words...)
	b.do("network", "rm", "one", "two", "inside")
}

// refer measures dockerd.
func (b *beside) refer(firewall string) {
	b.t.Helper()
	b.theirs[firewall] = b.measure(false)
	b.say("dockerd beside " + firewall)
}

// hold measures berth, and holds each cell against dockerd's beside a firewall.
func (b *beside) hold(scenario, firewall string) {
	b.t.Helper()
	found := b.measure(false)
	b.say("berth beside " + scenario)
	for _, r := range rows {
		want, got := b.theirs[firewall][r.key()], found[r.key()]
		for i := range got {
			switch {
			case got[i] == want[i]:
			case got[i] == shut && clauseOf(scenario, r, kinds[i]) != nil:
			case got[i] == open && firewall == "ufw" && inward(r): // dockerd's proxy answers there, which ufw's input drops; ours are forwarded
			default:
				b.t.Errorf("beside %s: %s, %s: %s, with dockerd %s", scenario, r.key(), kinds[i], got[i], want[i])
			}
		}
	}
}

// inward reports whether a row is about containers that ask at a published port of the host's.
func inward(r row) bool {
	return strings.HasSuffix(r.to, "("+r.who+")") && slices.ContainsFunc(containers, func(c container) bool { return c.name == r.from && !strings.HasPrefix(c.network, "inside") })
}

// neighbours are dockerd's container beside ours.
func (b *beside) neighbours(docker engine) {
	b.t.Helper()
	const theirs = "172.30.9.2"
	published := row{"", "theirs, published", hostV4, "", 8090, "theirs"}
	direct := row{"", "theirs", theirs, "", portTheirs, "theirs"}
	ours := row{"theirs", "web", "172.30.1.10", "", portInside, "web"}
	list := slices.Concat(published.by("neighbour", "far"), direct.by("host"), []row{{"theirs", "neighbour", neighbourV4, "", portService, "neighbour"}})
	closed := slices.Concat(direct.by("neighbour", "peer", "first", "inner2"), []row{ours})
	found := b.measureOf(slices.Concat(list, closed), false)
	for i, r := range slices.Concat(list, closed) {
		want := open
		if i >= len(list) {
			want = shut
		}
		if got := found[r.key()]; got[0] != want {
			b.t.Errorf("dockerd's container: %s: %s, want %s", r.key(), got[0], want)
		}
	}
	b.say("dockerd's container")
}

// rules are dockerd's, in no order: it puts its jumps elsewhere as it is started anew.
func (b *beside) rules() string {
	b.t.Helper()
	var list []string
	for _, line := range []string{"iptables -S", "iptables -t nat -S", "ip6tables -S", "ip6tables -t nat -S"} {
		for _, rule := range strings.Split(b.line(line), "\n") {
			if strings.Contains(strings.ToLower(rule), "docker") && !strings.Contains(rule, "BERTH") {
				list = append(list, line+": "+rule)
			}
		}
	}
	slices.Sort(list)
	return strings.Join(list, "\n")
}

// line runs a command line on the host.
func (w *world) line(line string) (out string) {
	w.t.Helper()
	f := strings.Fields(line)
	out, err := w.host.Run(f[0], f[1:]...)
	if err != nil {
		w.t.Fatal(err)
	}
	return out
}
