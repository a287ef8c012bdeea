package launch

import (
	"encoding/json"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"

	"dispatchd/daemon/internal/proc"
	"dispatchd/dispatchers"
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
	return append(env, argumentVariables(j.Arguments, proc.EnvironmentRoom()/4)...)
}

// maxVariable is the longest variable that Linux lets a program have, with its name
// and a NUL (MAX_ARG_STRLEN in execve(2)). One for all systems: a job is moved.
const maxVariable = 128 << 10

// omittedVariable names what was left out of the environment.
const omittedVariable = "DISPATCHD_ARGS_OMITTED"

// maxOmitted bounds that variable.
const maxOmitted = 4096

// argumentVariables makes DISPATCHD_ARG_<NAME> of the top-level scalars of an
// object, sorted. Arguments that are no object make none. What an environment cannot
// have is left out, and named in a variable of its own: a string with a NUL, for a
// variable ends there (environ(7)), one that is too long, what goes beyond room bytes
// in all, and all of those that would have the same name. The child has the whole
// value on standard input.
func argumentVariables(args json.RawMessage, room int) []string {
	var object map[string]json.RawMessage
	if len(args) == 0 || json.Unmarshal(args, &object) != nil {
		return nil
	}
	values, omitted := map[string]string{}, map[string]bool{}
	for name, raw := range object {
		value, scalar := scalarText(raw)
		if !scalar {
			continue
		}
		variable := dispatchers.ArgumentVariable(name)
		_, twice := values[variable]
		if twice || strings.ContainsRune(value, 0) || len(variable)+len("=")+len(value)+1 > maxVariable {
			omitted[variable] = true
		}
		values[variable] = value
	}
	var env []string
	for _, variable := range slices.Sorted(maps.Keys(values)) {
		v := variable + "=" + values[variable]
		takes := len(v) + 1 + 8 // with its pointer
		if omitted[variable] || takes > room {
			omitted[variable] = true
			continue
		}
		room -= takes
		env = append(env, v)
	}
	if len(omitted) > 0 {
		env = append(env, omittedVariable+"="+names(omitted))
	}
	return env
}

// names lists what was left out, as far as there is room.
func names(omitted map[string]bool) string {
	var text strings.Builder
	for _, variable := range slices.Sorted(maps.Keys(omitted)) {
		if text.Len()+len(variable) > maxOmitted {
			text.WriteString(" …")
			break
		}
		if text.Len() > 0 {
			text.WriteByte(' ')
		}
		text.WriteString(variable)
	}
	return text.String()
}

// scalarText is a JSON string, number, boolean or null as a shell wants it. False
// for arrays and objects.
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
	return value, true
}
