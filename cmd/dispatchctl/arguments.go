package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"regexp"
	"strings"

	"github.com/spf13/cobra"

	"dispatchd/ipc"
	"dispatchd/ipc/console"
)

// fields are the arguments of a job as flags give them.
type fields struct {
	set  []string // --argument NAME=VALUE
	file string   // --args-file
}

// flags adds the flags to a verb.
func (f *fields) flags(cmd *cobra.Command) {
	cmd.Flags().StringArrayVarP(&f.set, "argument", "a", nil, "one field `NAME=VALUE` of the arguments, may be given several times; a VALUE that is JSON is that, any other is text")
	cmd.Flags().StringVar(&f.file, "args-file", "", "read the arguments, JSON, from `FILE`; - is standard input")
}

// read gives the arguments that a command line stands for, nil = none. word is
// what stands behind the dispatcher's name, nil = nothing.
func (f *fields) read(word []string, stdin io.Reader) (json.RawMessage, error) {
	ways := len(word) + min(1, len(f.set))
	if f.file != "" {
		ways++
	}
	switch {
	case ways > 1:
		return nil, console.Usage("give JSON, or fields by -a, or a file by --args-file", "the arguments are given in several ways")
	case len(word) > 0:
		return wordArguments(word[0], stdin)
	case f.file != "":
		return fileArguments(f.file, stdin)
	case len(f.set) > 0:
		return f.object()
	}
	return nil, nil
}

// assignment is a field as a person writes it who has not heard of JSON.
var assignment = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.-]*=`)

// wordArguments reads JSON from the command line. Where it looks like a field, the
// error says how one is given.
func wordArguments(word string, stdin io.Reader) (json.RawMessage, error) {
	raw, err := ipc.ReadArguments(word, stdin)
	if p, ok := errors.AsType[*ipc.Error](err); ok && p.Kind == ipc.KindArgumentsInvalid {
		p.Suggestion = `arguments are JSON, such as '{"name":"value"}'; for one field use -a NAME=VALUE`
		if assignment.MatchString(word) {
			p.Suggestion = "arguments are JSON; for one field use -a " + shellWord(word)
		}
	}
	return raw, err
}

// shellWord quotes a word for a shell where it needs that.
func shellWord(word string) string {
	if strings.Trim(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.,:/=@%+-") == "" {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// fileArguments reads JSON from a file. They do not stand on a command line, which
// every user of the machine can read.
func fileArguments(path string, stdin io.Reader) (json.RawMessage, error) {
	if path == "-" {
		return ipc.ReadArguments("-", stdin)
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, console.Usage("name a file that you can read", "--args-file: %v", err)
	}
	defer func() { _ = file.Close() }()
	return ipc.ReadArguments("-", file)
}

// object makes the object of the fields, in the order in which they were given.
func (f *fields) object() (json.RawMessage, error) {
	var b bytes.Buffer
	seen := map[string]bool{}
	for i, one := range f.set {
		name, value, ok := strings.Cut(one, "=")
		switch {
		case !ok || name == "":
			return nil, console.Usage("write it as NAME=VALUE", "-a %s: it has no name and value", one)
		case seen[name]:
			return nil, console.Usage("give it once; a list is written as JSON: -a '"+name+"=[1,2]'", "-a %s: field %s is given twice", one, name)
		}
		seen[name] = true
		key, err := json.Marshal(name)
		if err != nil {
			return nil, err
		}
		text := []byte(value)
		if !json.Valid(text) {
			if text, err = json.Marshal(value); err != nil {
				return nil, err
			}
		}
		b.WriteByte("{,"[min(i, 1)])
		b.Write(key)
		b.WriteByte(':')
		b.Write(text)
	}
	b.WriteByte('}')
	return ipc.ReadArguments(b.String(), nil)
}
