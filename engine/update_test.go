package engine

import (
	"reflect"
	"testing"

	"berth/container/config"
)

// TestMergeResources lays numbers for devices, by device, and files of cgroup v2
// over those that there are, which keep what they were.
func TestMergeResources(t *testing.T) {
	have := config.Resources{Unified: map[string]string{"a": "1", "b": "2"}}
	have.Block.ReadBps = []config.DeviceNumber{{Path: "/dev/a", Value: 1}, {Path: "/dev/b", Value: 2}}
	asked := config.Resources{Unified: map[string]string{"b": "3"}}
	asked.Block.ReadBps = []config.DeviceNumber{{Path: "/dev/a", Value: 5}}
	asked.Block.WriteIOps = []config.DeviceNumber{{Path: "/dev/a", Value: 6}}
	merged := have
	mergeResources(&merged, &asked)
	want := config.Resources{Unified: map[string]string{"a": "1", "b": "3"}}
	want.Block.ReadBps = []config.DeviceNumber{{Path: "/dev/b", Value: 2}, {Path: "/dev/a", Value: 5}}
	want.Block.WriteIOps = []config.DeviceNumber{{Path: "/dev/a", Value: 6}}
	if !reflect.DeepEqual(merged, want) {
		t.Errorf("got %+v\nwant %+v", merged, want)
	}
	if have.Block.ReadBps[0].Value != 1 || have.Unified["b"] != "2" {
		t.Errorf("what there was has changed: %+v", have)
	}
}
