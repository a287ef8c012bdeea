package ipc

import (
	"fmt"
	"strings"
)

// APIVersion is the version of the API that this code speaks: the v1 of its
// paths. Within a version, fields are only added.
const APIVersion = 1

// APIHeader is the header by which the daemon says, in every answer, which
// versions of the API it speaks: numbers with commas between.
const APIHeader = "Dispatchd-Api"

// SpokenAPI is the value of APIHeader in a daemon's answers.
func SpokenAPI() string { return fmt.Sprint(APIVersion) }

// CheckAPI holds the APIHeader of an answer against what this client speaks. An
// answer without it comes from another program, or from a daemon before v1.
func CheckAPI(header string) error {
	for v := range strings.SplitSeq(header, ",") {
		if strings.TrimSpace(v) == fmt.Sprint(APIVersion) {
			return nil
		}
	}
	p := Errorf(KindVersionMismatch, "the daemon speaks version %s of the API, and this client version %d", orNone(header), APIVersion)
	p.Suggestion = "install client and daemon of the same version, and restart the daemon"
	return p
}

// orNone words a header that is not there, and keeps a long one short.
func orNone(s string) string {
	if s == "" {
		return "(it does not say which)"
	}
	return fmt.Sprintf("%.40q", s)
}
