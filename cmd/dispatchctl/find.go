package main

import (
	"context"
	"slices"

	"dispatchd/ipc"
)

// isID tells a job's id, or a start of one, from a dispatcher's name: ids begin
// with a digit, names with a letter.
func isID(word string) bool { return word != "" && word[0] >= '0' && word[0] <= '9' }

// wantID refuses a dispatcher's name where a verb needs a job.
func wantID(verb string, ids ...string) error {
	for _, id := range ids {
		if !isID(id) {
			p := ipc.Errorf(ipc.KindJobUnknown, "%s: %q is no job's id", verb, id)
			p.Suggestion = "dispatchctl jobs " + id + " shows the jobs of a dispatcher"
			return p
		}
	}
	return nil
}

// pageSize is the most jobs that one request gives.
const pageSize = 1000

// list gives jobs, newest first, in as many requests as it takes.
func (a *app) list(ctx context.Context, f ipc.JobFilter) ([]ipc.Job, error) {
	var all []ipc.Job
	want := f.Limit
	for {
		f.Limit = min(want-len(all), pageSize)
		page, err := a.api().Jobs(ctx, f)
		if err != nil {
			return nil, err
		}
		all = append(all, page...)
		if len(page) < f.Limit || len(all) >= want {
			return all, nil
		}
		f.Before = page[len(page)-1].ID
	}
}

// listOf gives the jobs of one dispatcher, also of one that was removed. A name
// without jobs and without a dispatcher is an error that names the nearest one.
func (a *app) listOf(ctx context.Context, f ipc.JobFilter) ([]ipc.Job, error) {
	jobs, err := a.list(ctx, f)
	if err != nil || len(jobs) > 0 || f.Dispatcher == "" {
		return jobs, err
	}
	_, err = a.api().Dispatcher(ctx, f.Dispatcher)
	return nil, err
}

// open gives the jobs of a dispatcher that have not ended, newest first.
func (a *app) open(ctx context.Context, name string) ([]ipc.Job, error) {
	queued, err := a.listOf(ctx, ipc.JobFilter{Dispatcher: name, State: ipc.Queued, Limit: 1 << 30})
	if err != nil {
		return nil, err
	}
	running, err := a.list(ctx, ipc.JobFilter{Dispatcher: name, State: ipc.Running, Limit: 1 << 30})
	// One that started between the two is listed twice.
	for _, j := range running {
		queued = slices.DeleteFunc(queued, func(q ipc.Job) bool { return q.ID == j.ID })
	}
	return append(queued, running...), err
}

// current is the job that a dispatcher's name stands for on a command line: the
// running one, else the last one that started, else the last one.
func (a *app) current(ctx context.Context, name string) (ipc.Job, error) {
	jobs, err := a.listOf(ctx, ipc.JobFilter{Dispatcher: name, Limit: pageSize})
	if err != nil {
		return ipc.Job{}, err
	}
	if len(jobs) == 0 {
		p := ipc.Errorf(ipc.KindJobUnknown, "dispatcher %s has no jobs yet", name)
		p.Suggestion = "dispatchctl run " + name + " makes one"
		return ipc.Job{}, p
	}
	for _, fits := range []func(ipc.Job) bool{
		func(j ipc.Job) bool { return j.State == ipc.Running },
		func(j ipc.Job) bool { return j.StartedAt != nil },
	} {
		if i := slices.IndexFunc(jobs, fits); i >= 0 {
			return a.api().Job(ctx, jobs[i].ID) // lists are without arguments and result
		}
	}
	return a.api().Job(ctx, jobs[0].ID)
}

// find gives the job of an id, or the current one of a dispatcher's name.
func (a *app) find(ctx context.Context, word string) (ipc.Job, error) {
	if isID(word) {
		return a.api().Job(ctx, word)
	}
	return a.current(ctx, word)
}
