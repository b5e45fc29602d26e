// Command serve runs the fake registry for scripts, until it is killed. It
// prints its address (host:port) as the first line.
//
//	go run ./test/fakereg/serve -layout DIR=team/app \
//	    -fault 'kind=reset path=/blobs/ after=100000 times=2' -basic user:password
//
// No part of the programs.
package main

import (
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"

	"berth/test/fakereg"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "serve:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	s := fakereg.New()
	set := flag.NewFlagSet("serve", flag.ContinueOnError)
	listen := set.String("listen", "127.0.0.1:0", "host:port")
	cert := set.String("cert", "", "PEM file of a certificate: serve https")
	key := set.String("key", "", "PEM file of its key")
	set.BoolVar(&s.NoMount, "no-mount", false, "answer mounts with uploads")
	set.BoolVar(&s.NoRange, "no-range", false, "serve whole blobs only")
	set.BoolVar(&s.NoHead, "no-head", false, "refuse HEAD")
	set.BoolVar(&s.NoPatch, "no-patch", false, "forget broken uploads")
	set.Func("layout", "DIR=REPOSITORY, an OCI layout to serve (repeatable)", func(v string) error {
		dir, repository, ok := strings.Cut(v, "=")
		if !ok {
			return errors.New("wanted DIR=REPOSITORY")
		}
		return s.LoadLayout(dir, repository)
	})
	set.Func("fault", "words key=value: kind method path skip times after status body to header.NAME (repeatable)", func(v string) error {
		f, err := parseFault(v)
		if err == nil {
			s.Inject(f)
		}
		return err
	})
	set.Func("basic", "USER:PASSWORD to be demanded", func(v string) error {
		user, password, _ := strings.Cut(v, ":")
		s.RequireBasic(user, password)
		return nil
	})
	set.Func("token", "USER:PASSWORD of the token server; everybody may pull", func(v string) error {
		user, password, _ := strings.Cut(v, ":")
		s.RequireToken(user, password, "", true, 300)
		return nil
	})
	if err := set.Parse(args); err != nil {
		return err
	}
	l, err := net.Listen("tcp", *listen)
	if err != nil {
		return err
	}
	fmt.Println(l.Addr())
	server := &http.Server{Handler: s}
	if *cert != "" {
		return server.ServeTLS(l, *cert, *key)
	}
	return server.Serve(l)
}

// parseFault reads "kind=reset path=/blobs/ after=10".
func parseFault(text string) (f fakereg.Fault, err error) {
	for word := range strings.FieldsSeq(text) {
		key, value, _ := strings.Cut(word, "=")
		var n int64
		switch key {
		case "skip", "times", "after", "status":
			if n, err = strconv.ParseInt(value, 10, 64); err != nil {
				return f, fmt.Errorf("%s: no number", word)
			}
		}
		switch key {
		case "kind":
			f.Kind = fakereg.Kind(value)
		case "method":
			f.Method = value
		case "path":
			f.Path = value
		case "skip":
			f.Skip = int(n)
		case "times":
			f.Times = int(n)
		case "after":
			f.After = n
		case "status":
			f.Status = int(n)
		case "body":
			f.Body = value
		case "to":
			f.To = value
		default:
			name, ok := strings.CutPrefix(key, "header.")
			if !ok {
				return f, fmt.Errorf("%s: unknown word", key)
			}
			if f.Header == nil {
				f.Header = map[string]string{}
			}
			f.Header[name] = value
		}
	}
	return f, nil
}
