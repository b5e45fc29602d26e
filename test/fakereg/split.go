package fakereg

import (
	"bytes"
	"compress/gzip"
	"io"

	"github.com/vbatts/tar-split/tar/asm"
	"github.com/vbatts/tar-split/tar/storage"
)

// Split is tar-split's list of a plain layer, as docker keeps it: tar-split.json.gz.
func Split(layer []byte) ([]byte, error) {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	r, done, err := asm.NewInputTarStreamWithDone(bytes.NewReader(layer), storage.NewJSONPacker(z), storage.NewDiscardFilePutter())
	if err == nil {
		_, err = io.Copy(io.Discard, r)
	}
	if err == nil {
		err = <-done
	}
	if err == nil {
		err = z.Close()
	}
	return b.Bytes(), err
}
