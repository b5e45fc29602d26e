# make                 the static programs, in bin/
# make install         PREFIX=/usr/local DESTDIR= LINKS="docker podman"
# make test            everything, as root, on Debian 12; 60 minutes at most
# make test-quick      no root, under 3 minutes
# make test-sweep      make test with nothing left out (an hour); SEED=n
# make test-vm         the guest's share alone
# make test-guards     each guard compiled out: its attack must then succeed
# make bench           ratios beside their goals
# make bench-images    the same for images, beside docker and podman
# make bench-containers  and for containers; ONLY=run,exec measures parts
# make bench-networks  and for networks
# make bench-users     and for ordinary users
# make fuzz            FUZZTIME=60s for each fuzz target
# make lint            gofmt, vet, staticcheck, the walls
# make reproducible    two builds in two folders must give the same bytes

GO      ?= go
PREFIX  ?= /usr/local
DESTDIR ?=
SHARE   := $(DESTDIR)$(PREFIX)/share
UNITS   := $(DESTDIR)$(PREFIX)/lib/systemd
FUZZTIME ?= 60s

# A program's bytes depend on the source and on the Go version, on nothing else.
BUILD := CGO_ENABLED=0 GOFLAGS= GOTOOLCHAIN=local $(GO) build -trimpath -buildvcs=false -ldflags "-s -w -buildid="

HELPER   := runtime/helper/bin/berth-helper
BOX      := image/builtin/bin/berth-box
PROGRAMS := $(filter-out berth-helper berth-box,$(patsubst cmd/%/main.go,%,$(wildcard cmd/*/main.go)))

.PHONY: all helper box install test test-quick test-sweep test-vm test-guards bench bench-images bench-containers bench-networks bench-users fuzz lint reproducible clean

all: helper box
	@mkdir -p bin
	@for p in $(PROGRAMS); do echo "build $$p"; $(BUILD) -o bin/$$p ./cmd/$$p || exit 1; done

# The helper is embedded in the other programs, so it comes first. It is put in
# its place by a rename, and only when it changed.
helper:
	@mkdir -p bin $(dir $(HELPER))
	@echo "build berth-helper"; $(BUILD) -o bin/berth-helper ./cmd/berth-helper
	@cmp -s bin/berth-helper $(HELPER) && test -s $(HELPER).sha256 || { \
		cp bin/berth-helper $(HELPER).new && \
		sha256sum < $(HELPER).new | cut -d' ' -f1 > $(HELPER).sha256 && \
		mv $(HELPER).new $(HELPER); }

# The built-in image's program and the names that it answers to.
box:
	@mkdir -p bin $(dir $(BOX))
	@echo "build berth-box"; $(BUILD) -o bin/berth-box ./cmd/berth-box
	@cmp -s bin/berth-box $(BOX) && test -s $(BOX).names || { \
		cp bin/berth-box $(BOX).new && \
		bin/berth-box --list > $(BOX).names && \
		mv $(BOX).new $(BOX); }

# Only the programs that people call; the helper is inside them.
install: all
	install -d $(DESTDIR)$(PREFIX)/bin
	@for p in $(PROGRAMS); do echo "install $$p"; install -m 0755 bin/$$p $(DESTDIR)$(PREFIX)/bin/ || exit 1; done
	@echo "install the manual and completions"
	@install -d $(SHARE)/man/man8 $(SHARE)/bash-completion/completions $(SHARE)/zsh/site-functions $(SHARE)/fish/vendor_completions.d
	@bin/berth-oci man > $(SHARE)/man/man8/berth-oci.8
	@bin/berth-oci completion bash > $(SHARE)/bash-completion/completions/berth-oci
	@bin/berth-oci completion zsh > $(SHARE)/zsh/site-functions/_berth-oci
	@bin/berth-oci completion fish > $(SHARE)/fish/vendor_completions.d/berth-oci.fish
	@install -d $(SHARE)/man/man1
	@bin/berth man --dir $(SHARE)/man/man1
	@bin/berth completion bash > $(SHARE)/bash-completion/completions/berth
	@bin/berth completion zsh > $(SHARE)/zsh/site-functions/_berth
	@bin/berth completion fish > $(SHARE)/fish/vendor_completions.d/berth.fish
	@echo "install the units of systemd"
	@install -d $(UNITS)/system $(UNITS)/user
	@sed 's|@BINDIR@|$(PREFIX)/bin|' cmd/berth/systemd/berth.service.in > $(UNITS)/system/berth.service
	@sed 's|@BINDIR@|$(PREFIX)/bin|' cmd/berth/systemd/berth-user.service.in > $(UNITS)/user/berth.service
	@sed 's|@BINDIR@|$(PREFIX)/bin|' cmd/berth/systemd/berth-network-watch.service.in > $(UNITS)/system/berth-network-watch.service
	@echo "install the profiles of AppArmor"
	@install -d $(DESTDIR)/etc/apparmor.d
	@install -m 0644 engine/apparmor/berth-default $(DESTDIR)/etc/apparmor.d/berth-default
	@test ! -e /etc/apparmor.d/abi/4.0 || sed 's|@BINDIR@|$(PREFIX)/bin|' engine/apparmor/berth.in > $(DESTDIR)/etc/apparmor.d/berth
	@for l in $(LINKS); do echo "link $$l to berth"; ln -sf berth $(DESTDIR)$(PREFIX)/bin/$$l || exit 1; done

test:
	tools/ci/run

test-quick:
	tools/ci/run --quick

test-sweep:
	BERTH_SWEEP=1 $(if $(SEED),BERTH_SEED=$(SEED)) tools/ci/run

test-vm: all
	tools/ci/run guest

test-guards: all
	test/guards/run

bench: all
	$(GO) run ./test/bench

bench-images: all
	$(GO) run ./test/bench/images

bench-containers: all
	$(GO) run ./test/bench/containers -only "$(ONLY)"

bench-networks:
	$(MAKE) --no-print-directory bench-containers ONLY=attach,ports,members,throughput,names

bench-users:
	$(MAKE) --no-print-directory bench-containers ONLY=userns,users

fuzz:
	tools/ci/fuzz $(FUZZTIME)

lint:
	tools/ci/lint

reproducible:
	tools/ci/reproducible

clean:
	rm -rf bin $(HELPER) $(HELPER).sha256 $(HELPER).new
