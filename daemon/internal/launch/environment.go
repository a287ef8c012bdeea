package launch

import (
	"encoding/json"
	"os"
	"slices"
	"strconv"
	"strings"
)

// Environment is what a child learns about its job (SPEC section 4). A job
// without arguments file is pointed to an empty one.
func Environment(j Job, argsFile, socket string) []string {
	if argsFile == "" {
		argsFile = os.DevNull
	}
	env := []string{
		"DISPATCHD_JOB_ID=" + j.ID, "DISPATCHD_DISPATCHER=" + j.Dispatcher,
		"DISPATCHD_ATTEMPT=" + strconv.Itoa(j.Attempt), "DISPATCHD_ORIGIN=" + string(j.Origin),
		"DISPATCHD_SOCKET=" + socket, "DISPATCHD_ARGS_FILE=" + argsFile, "DISPATCHD_PROGRESS_FD=3",
	}
	return append(env, argumentVariables(j.Arguments)...)
}

// argumentVariables makes DISPATCHD_ARG_<NAME> of the top-level scalars of an
// object, sorted. Arguments that are no object make none.
func argumentVariables(args json.RawMessage) []string {
	var object map[string]json.RawMessage
	if len(args) == 0 || json.Unmarshal(args, &object) != nil {
		return nil
	}
	var env []string
	for name, raw := range object {
		if value, scalar := scalarText(raw); scalar {
			env = append(env, "DISPATCHD_ARG_"+variableName(name)+"="+value)
		}
	}
	slices.Sort(env)
	return env
}

// scalarText is a JSON string, number, boolean or null as a shell wants it. False
// for arrays and objects, and for a string with a NUL: an environment variable
// ends there (environ(7)), and the child has the whole value on standard input.
func scalarText(raw json.RawMessage) (string, bool) {
	value := string(raw)
	switch raw[0] {
	case '{', '[':
		return "", false
	case '"':
		if json.Unmarshal(raw, &value) != nil {
			return "", false
		}
	case 'n':
		value = ""
	}
	return value, !strings.ContainsRune(value, 0)
}

// variableName makes a part of a variable's name of an argument's: ASCII letters
// in upper case, digits, and an underscore for each other character.
func variableName(s string) string {
	return strings.Map(func(c rune) rune {
		switch {
		case c >= 'a' && c <= 'z':
			return c - 'a' + 'A'
		case c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
			return c
		}
		return '_'
	}, s)
}
