package format

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"strings"

	"berth/cli/term"
)

// Form is how rows are to be printed.
type Form struct {
	// Source is --format: "", table, table TEMPLATE, json, or a template.
	Source string
	// Table is the template of the default table.
	Table string
	// Raw is the template of "raw", if the verb has one.
	Raw       string
	Style     term.Style
	NoHeading bool
	// JSONList prints json as one list on several lines, as podman does.
	JSONList string
}

const tableWord = "table"

// Label is {{.Label "key"}} of a row, fit for a terminal; in the row of headings it
// is the key's last part.
func Label(labels map[string]string, heading bool, key string) string {
	if heading {
		return strings.NewReplacer("-", " ", "_", " ").Replace(key[strings.LastIndexByte(key, '.')+1:])
	}
	return term.Clean(labels[key])
}

// Rows prints rows; head is a row whose fields are the headings. Cells must be
// fit for a terminal already.
func Rows[T any](w io.Writer, f Form, head T, rows []T) error {
	w = Shown(w)
	source := strings.TrimSpace(f.Source)
	if source == "json" {
		return jsonRows(w, f, rows)
	}
	table := false
	switch {
	case source == "" || source == tableWord:
		source, table = f.Table, true
	case source == "raw" && f.Raw != "":
		source = f.Raw
	case strings.HasPrefix(source, tableWord):
		source, table = strings.TrimSpace(source[len(tableWord):]), true
	default:
		source = f.Source
	}
	if table && f.Style == term.PodmanStyle {
		source = strings.ReplaceAll(source, "}} {{", "}}\t{{")
	}
	source = strings.NewReplacer(`\t`, "\t", `\n`, "\n").Replace(source)
	funcs := functions()
	funcs["json"] = func(v any) (string, error) {
		_, isRow := v.(*T)
		data, err := marshal(v, isRow)
		return string(data), err
	}
	t, err := parse(source, funcs)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	write := func(row *T) error { return t.Execute(&b, row) }
	if p, ok := plainOf[T](t); ok {
		write = func(row *T) error { p.write(&b, reflect.ValueOf(row).Elem()); return nil }
	}
	for i := range rows {
		if err := write(&rows[i]); err != nil {
			return fmt.Errorf("template parsing error: %w", err)
		}
		b.WriteByte('\n')
	}
	if !table {
		_, err := w.Write(b.Bytes())
		return err
	}
	out := bufio.NewWriterSize(w, 64<<10) // a table writes cell by cell
	tab := term.Table(out, f.Style)
	if !f.NoHeading {
		if err := heading(tab, source, head); err != nil {
			return err
		}
	}
	if _, err := tab.Write(b.Bytes()); err != nil {
		return err
	}
	if err := tab.Flush(); err != nil {
		return err
	}
	return out.Flush()
}

func heading(w io.Writer, source string, head any) error {
	t, err := parse(source, headings())
	if err != nil {
		return err
	}
	if err := t.Execute(w, head); err != nil {
		return fmt.Errorf("template parsing error: %w", err)
	}
	_, err = io.WriteString(w, "\n")
	return err
}

func jsonRows[T any](w io.Writer, f Form, rows []T) error {
	if f.JSONList != "" {
		if rows == nil {
			rows = []T{}
		}
		return Document(w, rows, f.JSONList)
	}
	for _, row := range rows {
		data, err := marshal(row, true)
		if err != nil {
			return err
		}
		if _, err := w.Write(append(data, '\n')); err != nil {
			return err
		}
	}
	return nil
}

// Shown makes what goes to a terminal harmless; a pipe gets the bytes as they are.
func Shown(w io.Writer) io.Writer {
	if term.Is(w) {
		return term.Cleaner(w)
	}
	return w
}

// Document prints a value as indented JSON and ends the line.
func Document(w io.Writer, v any, indent string) error {
	data, err := Indented(v, indent)
	if err != nil {
		return err
	}
	_, err = w.Write(append(data, '\n'))
	return err
}

// Value prints one document by a template, or as JSON for json; it ends the line.
func Value(w io.Writer, source string, v any) error {
	w = Shown(w)
	if strings.TrimSpace(source) == "json" {
		source = "{{json .}}"
	}
	t, err := parse(source, functions())
	if err != nil {
		return err
	}
	var b bytes.Buffer
	if err := t.Execute(&b, v); err != nil {
		// What the type lacks may be in its JSON under another name.
		loose, jsonErr := generic(v)
		if jsonErr != nil {
			return fmt.Errorf("template parsing error: %w", err)
		}
		b.Reset()
		if err := t.Option("missingkey=error").Execute(&b, loose); err != nil {
			return fmt.Errorf("template parsing error: %w", err)
		}
	}
	b.WriteByte('\n')
	_, err = w.Write(b.Bytes())
	return err
}

// generic is the value as maps, lists, strings and numbers.
func generic(v any) (any, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	var out any
	return out, dec.Decode(&out)
}
