// Package ipc holds the nouns that cross the control socket: jobs, states,
// errors and views, and where a daemon keeps its files.
//
// It is a leaf: it imports the standard library only, and not net/http, which
// costs the tiny client a millisecond and 3 MiB at each start. The wire only
// grows: fields are added, never changed or removed. The tag doc of a field is
// its description in the OpenAPI document.
package ipc
