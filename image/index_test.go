package image

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"berth/sys/stamp"
)

// TestIndex: a list is the same with the index, without it, and with a broken
// one, whatever was done since it was written; and a load of many images leaves
// one, so that the first list is quick.
func TestIndex(t *testing.T) {
	from, dir := newStore(t), t.TempDir()
	var many []string
	for i := range 40 {
		name := fmt.Sprintf("many:%d", i)
		imported(t, from, name, fmt.Sprint("f", i))
		many = append(many, name)
	}
	var b bytes.Buffer
	if err := from.Save(t.Context(), &b, many, SaveOptions{Format: FormatDocker}); err != nil {
		t.Fatal(err)
	}
	s := open(t, dir)
	if _, err := s.Load(t.Context(), &b, "", LoadOptions{}); err != nil {
		t.Fatal(err)
	}
	index := filepath.Join(dir, "index")
	if st, err := os.Stat(index); err != nil || st.Size() < 40*200 {
		t.Fatalf("after the load: %v, %v", st, err)
	}
	list := func() []Image { return listAll(t, s) }
	same := func(what string, n int) { t.Helper(); sameWithout(t, s, index, what, n) }
	same("as loaded", 40)
	dropSummaries(t, dir)
	list()
	if made, err := os.ReadDir(filepath.Join(dir, "images")); err != nil || len(made) != 40 {
		t.Errorf("%d of 40 summaries that were dropped are made again, %v", len(made), err)
	}
	time.Sleep(stamp.Tick)
	list()
	for i := range 40 { // the same size, the same folder
		if err := s.Tag(t.Context(), fmt.Sprintf("many:%d", (i+1)%40), fmt.Sprintf("moved:%d", i)); err != nil {
			t.Fatal(err)
		}
	}
	same("with more names", 40)
	time.Sleep(stamp.Tick)
	list()
	for i := range 40 {
		if err := s.Tag(t.Context(), fmt.Sprintf("many:%d", i), fmt.Sprintf("moved:%d", i)); err != nil {
			t.Fatal(err)
		}
		if img, err := s.Find(t.Context(), fmt.Sprintf("moved:%d", i)); err != nil || len(img.Names) == 0 || img.Names[0] != fmt.Sprintf("docker.io/library/many:%d", i) {
			t.Fatalf("moved:%d leads to %v, %v", i, img.Names, err)
		}
	}
	if _, err := remove(t, s, RemoveOptions{}, "many:7", "moved:7", "many:8"); err != nil {
		t.Fatal(err)
	}
	same("without one of them", 39)
	if _, err := s.Find(t.Context(), "many:8"); err == nil {
		t.Error("a name that was removed is found")
	}
	if found, err := s.Check(t.Context(), false); err != nil || len(found) > 0 {
		t.Errorf("check: %v, %v", found, err)
	}
	for i := range 40 {
		_, _ = remove(t, s, RemoveOptions{}, fmt.Sprintf("many:%d", i), fmt.Sprintf("moved:%d", i))
	}
	if all := list(); len(all) > 0 {
		t.Errorf("%d images are left", len(all))
	}
	if data, err := os.ReadFile(index); err != nil || bytes.Contains(data, []byte("many:1")) {
		t.Errorf("the index remembers what is gone: %d bytes, %v", len(data), err)
	}
	clean(t, s)
}

func listAll(t *testing.T, s *Store) []Image {
	t.Helper()
	all, err := s.List(t.Context(), ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// sameWithout lists n images with the index, and with none and broken ones.
func sameWithout(t *testing.T, s *Store, index, what string, n int) {
	t.Helper()
	with := listAll(t, s)
	data, err := os.ReadFile(index)
	if err != nil {
		t.Fatal(err)
	}
	for _, broken := range [][]byte{nil, data[:len(data)/2], append([]byte{9}, data[1:]...), bytes.Repeat([]byte{0xff}, len(data))} {
		if err := os.WriteFile(index, broken, 0o600); err != nil {
			t.Fatal(err)
		}
		if got := listAll(t, s); !reflect.DeepEqual(got, with) || len(got) != n {
			t.Errorf("%s: %d images with the index, %d with %d broken bytes, want %d", what, len(with), len(got), len(broken), n)
		}
	}
	if err := os.WriteFile(index, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// dropSummaries does what verbs do with a summary that holds no more.
func dropSummaries(t *testing.T, dir string) {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(dir, "images", "*"))
	if err != nil || len(all) != 40 {
		t.Fatalf("%d summaries, %v", len(all), err)
	}
	for _, path := range all {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
}
