package rules

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

// rules is the list of all rules over source files.
func rules() []rule {
	return []rule{
		{"layers", "our packages import each other one way only", each(checkLayers)},
		{"imports", "a package from outside has a reason and a place", each(checkImports)},
		{"tiny client", "dispatch-notify reaches the standard library only, without net/http", checkTinyClient},
		{"supervisor", "dispatchd-shim, which starts for each job, links little", checkSupervisor},
		{"calls", "processes, files, sockets and the process itself are few packages' business", each(checkCalls(permits()))},
		{"state", "what is below the state directory is the store's", each(checkState)},
		{"pure", "the queue reads no clock and runs nothing", each(checkPure)},
		{"sleep", "tests wait for events", each(checkSleep)},
		{"builds", "the test cache knows what a test builds", checkBuilds},
		{"sends", "a send has another way out", checkSends},
		{"variables", "no init, no package-level variables", each(checkVariables(variables()))},
		{"names", "packages are named by what they do", each(checkNames)},
		{"recover", "no recover", each(checkRecover)},
		{"length", "no file is longer than 600 lines", each(checkLength)},
		{"docs", "each package and each exported name is documented", checkDocs},
		{"error text", `an error says "what: cause"`, each(checkErrorText)},
		{"logged and returned", "an error is logged or returned, never both", each(checkLoggedAndReturned)},
		{"status", "one table maps errors to HTTP statuses", each(checkStatus)},
		{"modes", "a mode is one of its type's constants, and never a string literal", checkModes},
		{"states", "a switch over a job's state has a case for each state", checkStates},
		{"numbers", "types, files and the way down between files can be held in mind; the loop's state stays on the loop", checkNumbers},
		{"maps", "a job is one struct, and a dispatcher is one", each(checkMaps(keyed()))},
		{"perform", "perform alone turns decisions into deeds", checkPerform},
	}
}

func TestRules(t *testing.T) {
	tree := load(t, "../..")
	for _, r := range rules() {
		t.Run(r.name, func(t *testing.T) {
			found := r.check(tree)
			slices.Sort(found)
			for _, wrong := range found {
				t.Error(wrong)
			}
			if len(found) > 0 {
				t.Logf("the rule: %s", r.text)
			}
		})
	}
}

// TestExceptionsAreNeeded: an exception that nobody needs any more is a door
// left open. Each one is taken away in turn, and somebody must miss it.
func TestExceptionsAreNeeded(t *testing.T) {
	tree := load(t, "../..")
	all := permits()
	for i, p := range all {
		there := slices.DeleteFunc(slices.Clone(tree), func(f *file) bool { return f.dir != p.dir })
		for name := range strings.FieldsSeq(p.names) {
			without := slices.Clone(all)
			without[i].names = strings.Join(slices.DeleteFunc(strings.Fields(p.names), func(n string) bool { return n == name }), " ")
			if len(each(checkCalls(without))(there)) == 0 {
				t.Errorf("%s does not need its permit for %s %s", p.dir, p.pkg, name)
			}
		}
	}
	there := strings.Join(each(checkMaps(nil))(tree), "\n")
	for what := range keyed() {
		if !strings.Contains(there, " "+what+" is a map") {
			t.Errorf("there is no map %s: take it out of keyed()", what)
		}
	}
	for name := range variables() {
		without := maps.Clone(variables())
		delete(without, name)
		if len(each(checkVariables(without))(tree)) == 0 {
			t.Errorf("there is no variable %s", name)
		}
	}
}
