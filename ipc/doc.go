// Package ipc holds the nouns that cross the control socket: jobs, states,
// errors and views, and where a daemon keeps its files.
//
// It is a leaf: the standard library only, and no net/http, so that the tiny
// client can use it. Fields are added, never changed or removed.
package ipc
