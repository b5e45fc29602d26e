package lsm

import (
	"errors"
	"os"
	"strings"
	"testing"

	"berth/base/fault"
)

func TestAbsentModulesAreNamed(t *testing.T) {
	lsms, err := os.ReadFile("/sys/kernel/security/lsm")
	if err == nil && strings.Contains(string(lsms), "apparmor") != AppArmor() {
		t.Errorf("AppArmor() is %v with %s", AppArmor(), lsms)
	}
	for _, tc := range []struct {
		module string
		active bool
		check  func(string) error
	}{{"AppArmor", AppArmor(), CheckAppArmor}, {"SELinux", SELinux(), CheckSELinux}} {
		if err := tc.check(""); err != nil {
			t.Errorf("%s: nothing asked for: %v", tc.module, err)
		}
		for _, bad := range []string{"a\nb", "a\x00", strings.Repeat("x", 5000)} {
			if err := tc.check(bad); !errors.Is(err, fault.Invalid) {
				t.Errorf("%s: %.10q: %v", tc.module, bad, err)
			}
		}
		err := tc.check("made-up")
		if tc.active && err != nil {
			t.Errorf("%s: %v", tc.module, err)
		}
		if !tc.active && (!errors.Is(err, fault.Unsupported) || !strings.Contains(err.Error(), tc.module+" is not active")) {
			t.Errorf("%s: %v", tc.module, err)
		}
	}
	// A process without AppArmor is as unconfined as was asked for.
	if err := CheckAppArmor("unconfined"); err != nil {
		t.Error(err)
	}
	if !AppArmor() && Profile("unconfined") != "" {
		t.Error("unconfined would be written without AppArmor")
	}
}

func TestIsProfile(t *testing.T) {
	for folder, want := range map[string]bool{
		"berth-default.1": true, "berth-default.4096": true, "berth-default": false, "berth-default.": false, "berth-default.x": false,
		"berth-default.old.1": false, "other.1": false,
	} {
		if isProfile(folder, "berth-default") != want {
			t.Errorf("%s: %v", folder, !want)
		}
	}
	if Loaded("no-such-profile") {
		t.Error("a profile that nobody made is loaded")
	}
}
