package applet

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// maxLine bounds what a tool keeps of one line.
const maxLine = 64 << 20

func lineScanner(r io.Reader) *bufio.Scanner {
	s := bufio.NewScanner(r)
	s.Buffer(make([]byte, 64<<10), maxLine)
	return s
}

// counts reads the old form -5 as -n 5.
func counts(args []string) []string {
	if len(args) > 0 && len(args[0]) > 1 && args[0][0] == '-' && args[0][1] >= '0' && args[0][1] <= '9' {
		return append([]string{"-n", args[0][1:]}, args[1:]...)
	}
	return args
}

func head(args []string) error {
	f := newFlags("head")
	n := f.Int("n", 10, "lines")
	c := f.Int64("c", -1, "bytes")
	names, err := f.parse(counts(args))
	if err != nil {
		return err
	}
	return each(names, func(name string, r io.Reader) error {
		if len(names) > 1 {
			fmt.Printf("==> %s <==\n", name)
		}
		if *c >= 0 {
			_, err := io.CopyN(os.Stdout, r, *c)
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return err
		}
		out := bufio.NewWriter(os.Stdout)
		in := bufio.NewReader(r)
		for i := 0; i < *n; i++ {
			line, err := in.ReadSlice('\n')
			for errors.Is(err, bufio.ErrBufferFull) {
				out.Write(line)
				line, err = in.ReadSlice('\n')
			}
			out.Write(line)
			if err != nil {
				break
			}
		}
		return out.Flush()
	})
}

func tail(args []string) error {
	f := newFlags("tail")
	n := f.String("n", "10", "lines, +N from line N")
	follow := f.Bool("f", false, "go on as the file grows")
	f.BoolVar(follow, "F", false, "as -f")
	names, err := f.parse(counts(args))
	if err != nil {
		return err
	}
	count, err := strconv.Atoi(strings.TrimPrefix(*n, "+"))
	if err != nil || count < 0 {
		return fmt.Errorf("-n %s: not a number of lines", *n)
	}
	from := strings.HasPrefix(*n, "+")
	return each(names, func(_ string, r io.Reader) error {
		if err := lastLines(r, count, from); err != nil || !*follow {
			return err
		}
		for {
			if _, err := io.Copy(os.Stdout, r); err != nil {
				return err
			}
			time.Sleep(200 * time.Millisecond)
		}
	})
}

func lastLines(r io.Reader, count int, from bool) error {
	out := bufio.NewWriter(os.Stdout)
	var ring []string
	at := 0
	for s := bufio.NewReader(r); ; {
		line, err := s.ReadString('\n')
		if line != "" {
			at++
			switch {
			case from && at >= count:
				out.WriteString(line)
			case !from && count > 0:
				if len(ring) == count {
					ring = ring[1:]
				}
				ring = append(ring, line)
			}
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
	}
	for _, line := range ring {
		out.WriteString(line)
	}
	return out.Flush()
}

func wc(args []string) error {
	f := newFlags("wc")
	l, w, c := f.Bool("l", false, "lines"), f.Bool("w", false, "words"), f.Bool("c", false, "bytes")
	names, err := f.parse(args)
	if err != nil {
		return err
	}
	if !*l && !*w && !*c {
		*l, *w, *c = true, true, true
	}
	var total [3]int64
	show := func(n [3]int64, name string) {
		var b strings.Builder
		for i, want := range []bool{*l, *w, *c} {
			if want {
				if b.Len() > 0 {
					b.WriteByte(' ')
				}
				fmt.Fprintf(&b, "%d", n[i])
			}
		}
		if name != "-" {
			b.WriteString(" " + name)
		}
		fmt.Println(b.String())
	}
	err = each(names, func(name string, r io.Reader) error {
		n, err := count(r)
		for i := range n {
			total[i] += n[i]
		}
		show(n, name)
		return err
	})
	if len(names) > 1 {
		show(total, "total")
	}
	return err
}

// count gives lines, words and bytes.
func count(r io.Reader) (n [3]int64, err error) {
	buf, inWord := make([]byte, 64<<10), false
	for {
		m, err := r.Read(buf)
		n[0] += int64(bytes.Count(buf[:m], []byte{'\n'}))
		n[2] += int64(m)
		for _, b := range buf[:m] {
			space := b == ' ' || b >= '\t' && b <= '\r'
			if !space && !inWord {
				n[1]++
			}
			inWord = !space
		}
		if errors.Is(err, io.EOF) {
			return n, nil
		}
		if err != nil {
			return n, err
		}
	}
}

func readLines(names []string) ([]string, error) {
	var lines []string
	err := each(names, func(_ string, r io.Reader) error {
		s := lineScanner(r)
		for s.Scan() {
			lines = append(lines, s.Text())
		}
		return s.Err()
	})
	return lines, err
}

func sortLines(args []string) error {
	f := newFlags("sort")
	n, r, u := f.Bool("n", false, "by number"), f.Bool("r", false, "downwards"), f.Bool("u", false, "each once")
	k := f.String("k", "", "field to sort by")
	t := f.String("t", "", "field separator")
	names, err := f.parse(args)
	if err != nil {
		return err
	}
	field := 0
	if *k != "" {
		if field, err = strconv.Atoi(strings.TrimRight(strings.SplitN(*k, ",", 2)[0], "bdfgiMnrV")); err != nil || field < 1 {
			return fmt.Errorf("-k %s: not a field", *k)
		}
	}
	key := func(line string) string {
		if field == 0 {
			return line
		}
		parts := strings.Fields(line)
		if *t != "" {
			parts = strings.Split(line, *t)
		}
		if field > len(parts) {
			return ""
		}
		return parts[field-1]
	}
	lines, err := readLines(names)
	slices.SortStableFunc(lines, func(a, b string) int {
		c := 0
		if *n {
			c = cmp.Compare(number(key(a)), number(key(b)))
		}
		if c == 0 && (!*n || !*u) {
			c = strings.Compare(key(a), key(b))
		}
		if *r {
			c = -c
		}
		return c
	})
	if *u {
		lines = slices.Compact(lines)
	}
	out := bufio.NewWriter(os.Stdout)
	for _, line := range lines {
		fmt.Fprintln(out, line)
	}
	return cmp.Or(err, out.Flush())
}

func number(s string) float64 {
	s = strings.TrimSpace(s)
	end := 0
	for end < len(s) && (s[end] >= '0' && s[end] <= '9' || s[end] == '.' || end == 0 && s[end] == '-') {
		end++
	}
	v, _ := strconv.ParseFloat(s[:end], 64)
	return v
}

func uniq(args []string) error {
	f := newFlags("uniq")
	c, d, u := f.Bool("c", false, "counts"), f.Bool("d", false, "only repeated"), f.Bool("u", false, "only single")
	names, err := f.parse(args)
	if err != nil {
		return err
	}
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	line, n := "", 0
	flush := func() {
		if n == 0 || *d && n == 1 || *u && n > 1 {
			return
		}
		if *c {
			fmt.Fprintf(out, "%7d ", n)
		}
		fmt.Fprintln(out, line)
	}
	err = each(names, func(_ string, r io.Reader) error {
		s := lineScanner(r)
		for s.Scan() {
			if n > 0 && s.Text() == line {
				n++
				continue
			}
			flush()
			line, n = s.Text(), 1
		}
		return s.Err()
	})
	flush()
	return err
}

func cut(args []string) error {
	f := newFlags("cut")
	d := f.String("d", "\t", "separator")
	list := f.String("f", "", "fields")
	chars := f.String("c", "", "characters")
	only := f.Bool("s", false, "only lines with a separator")
	names, err := f.parse(args)
	if err != nil {
		return err
	}
	want, err := ranges(cmp.Or(*list, *chars))
	if err != nil {
		return err
	}
	sep := *d
	if *chars != "" {
		sep = ""
	}
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	return each(names, func(_ string, r io.Reader) error {
		s := lineScanner(r)
		for s.Scan() {
			parts := strings.Split(s.Text(), sep)
			if len(parts) == 1 && sep != "" {
				if !*only {
					fmt.Fprintln(out, s.Text())
				}
				continue
			}
			var keep []string
			for i, p := range parts {
				if want(i + 1) {
					keep = append(keep, p)
				}
			}
			fmt.Fprintln(out, strings.Join(keep, sep))
		}
		return s.Err()
	})
}

// ranges reads 1,3-5,7-.
func ranges(s string) (func(int) bool, error) {
	type span struct{ from, to int }
	var spans []span
	for _, part := range strings.Split(s, ",") {
		lo, hi, isSpan := strings.Cut(part, "-")
		from, err := strconv.Atoi(cmp.Or(lo, "1"))
		to := from
		if err == nil && isSpan {
			to = 1 << 30
			if hi != "" {
				to, err = strconv.Atoi(hi)
			}
		}
		if err != nil || from < 1 {
			return nil, fmt.Errorf("%q is no list of fields: as 1,3-5", s)
		}
		spans = append(spans, span{from, to})
	}
	return func(i int) bool {
		return slices.ContainsFunc(spans, func(s span) bool { return i >= s.from && i <= s.to })
	}, nil
}

func tr(args []string) error {
	f := newFlags("tr")
	del, squeeze, complement := f.Bool("d", false, "delete"), f.Bool("s", false, "squeeze"), f.Bool("c", false, "all others")
	sets, err := f.parse(args)
	if err != nil {
		return err
	}
	if len(sets) == 0 || len(sets) == 1 && !*del && !*squeeze {
		return errors.New("needs two sets of characters")
	}
	from := charSet(sets[0])
	to := from
	if len(sets) > 1 {
		to = charSet(sets[1])
	}
	var table [256]int
	for i := range table {
		at := bytes.LastIndexByte(from, byte(i))
		if *complement {
			at = map[bool]int{true: len(to) - 1, false: -1}[at < 0]
		}
		table[i] = -1
		if at >= 0 && len(to) > 0 {
			table[i] = int(to[min(at, len(to)-1)])
		}
	}
	in, out := bufio.NewReader(os.Stdin), bufio.NewWriter(os.Stdout)
	defer out.Flush()
	last := -1
	for {
		b, err := in.ReadByte()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		mapped := table[b]
		switch {
		case mapped < 0:
			out.WriteByte(b)
			last = -1
			continue
		case *del:
			continue
		case *squeeze && mapped == last:
			continue
		}
		out.WriteByte(byte(mapped))
		last = mapped
	}
}

// charSet writes out ranges, classes and escapes: a-z [:upper:] \n.
func charSet(s string) []byte {
	for name, chars := range map[string]string{"lower": "a-z", "upper": "A-Z", "digit": "0-9", "alpha": "A-Za-z", "alnum": "0-9A-Za-z", "space": "\t\n\v\f\r "} {
		s = strings.ReplaceAll(s, "[:"+name+":]", chars)
	}
	s = strings.NewReplacer(`\n`, "\n", `\t`, "\t", `\r`, "\r", `\0`, "\x00", `\\`, `\`).Replace(s)
	var out []byte
	for i := 0; i < len(s); i++ {
		if i+2 < len(s) && s[i+1] == '-' && s[i] <= s[i+2] {
			for c := int(s[i]); c <= int(s[i+2]); c++ {
				out = append(out, byte(c))
			}
			i += 2
			continue
		}
		out = append(out, s[i])
	}
	return out
}
