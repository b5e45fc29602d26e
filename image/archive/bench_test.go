package archive

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

// BenchmarkLoad1000 loads an archive of 1,000 images of one small layer each.
func BenchmarkLoad1000(b *testing.B) {
	var files []file
	var list []dockerImage
	for i := range 1000 {
		layer := layerOf(b, fmt.Sprint(i))
		config := configOf(layer)
		name := dig(layer).Encoded() + "/layer.tar"
		files = append(files, file{name: name, data: layer}, file{name: dig(config).Encoded() + ".json", data: config})
		list = append(list, dockerImage{Config: dig(config).Encoded() + ".json", RepoTags: []string{fmt.Sprintf("many:%d", i)}, Layers: []string{name}})
	}
	data := makeTar(b, append(files, file{name: dockerFile, data: toJSON(list)})...)
	for b.Loop() {
		if images, err := Load(b.Context(), newStore(b), bytes.NewReader(data), LoadOptions{}); err != nil || len(images) != 1000 {
			b.Fatal(len(images), err)
		}
	}
}

// BenchmarkLoadBig loads one layer of 256 MiB.
func BenchmarkLoadBig(b *testing.B) {
	layer := strings.Repeat("0123456789abcdef", 16<<20)
	config := configOf(layer)
	data := makeTar(b, file{name: "layer.tar", data: layer}, file{name: dig(config).Encoded() + ".json", data: config},
		file{name: dockerFile, data: toJSON([]dockerImage{{Config: dig(config).Encoded() + ".json", Layers: []string{"layer.tar"}}})})
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if _, err := Load(b.Context(), newStore(b), bytes.NewReader(data), LoadOptions{}); err != nil {
			b.Fatal(err)
		}
	}
}
