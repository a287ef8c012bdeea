package queue_test

import (
	"fmt"
	"time"

	"dispatchd/daemon/internal/queue"
)

// owner is the least that a core needs: something to do what it decides, and to
// tell it what came of that. Here a lock of another process keeps the first
// start, and each child runs for three seconds.
type owner struct {
	core *queue.Core
	now  time.Duration // 1: does not go back
	held bool          // by another process
	ends map[queue.ID]time.Duration
}

// decide performs what an event led to. A StateError would be our fault.
func (o *owner) decide(effects []queue.Effect, err error) {
	if err != nil {
		fmt.Println(err)
	}
	var answers []func()
	for _, effect := range effects { // 2: all of them, in order, before the next event
		switch e := effect.(type) {
		case queue.Start: // 3: answered once
			if o.held {
				fmt.Println(o.now, "the lock is held")
				answers = append(answers, func() { o.decide(o.core.Busy(o.now, e.ID, queue.Reason{Lock: "cert", PID: 42})) })
				continue
			}
			fmt.Println(o.now, "journal, then start, attempt", e.Attempt) // 4: in this order
			o.ends[e.ID] = o.now + 3*time.Second
			answers = append(answers, func() { o.decide(o.core.Started(o.now, e.ID)) })
		case queue.Requeue:
			fmt.Println(o.now, "failed, again in", e.After)
		case queue.Finish:
			fmt.Println(o.now, "finished")
		}
	}
	for _, answer := range answers {
		answer()
	}
}

// Example is an owner, from the first definition to the end of a job.
func Example() {
	o := &owner{core: queue.New(queue.Limits{MaxRunning: 4}), held: true, ends: map[queue.ID]time.Duration{}}
	o.decide(o.core.Define(o.now, queue.Rules{Name: "renew", Concurrency: 1, Retries: 1, Backoff: 10 * time.Second}), nil)
	o.decide(o.core.Tick(o.now), nil) // 7: there is nothing to restore

	id := queue.ID{1}
	verdict, effects, err := o.core.Submit(o.now, queue.Submission{ID: id, Dispatcher: "renew", Locks: []queue.Lock{{Name: "cert"}}})
	fmt.Printf("refused: %q, position %d\n", verdict.Refused, verdict.Position)
	o.decide(effects, err)
	wait, _ := o.core.Waiting(o.now, id)
	fmt.Println("waits for", wait.Reason, wait.Lock, "of process", wait.PID)

	o.held = false
	for {
		at, due := o.core.Next()
		end, runs := o.ends[id]
		switch {
		case runs && (!due || end < at):
			o.now = end
			delete(o.ends, id)
			o.decide(o.core.Ended(o.now, id, true)) // 5: once
			continue
		case due:
			o.now = max(o.now, at) // 6: no later than Next says
			o.decide(o.core.Tick(o.now), nil)
			continue
		}
		return
	}

	// Output:
	// refused: "", position 1
	// 0s the lock is held
	// waits for lock cert of process 42
	// 1s journal, then start, attempt 1
	// 4s failed, again in 10s
	// 14s journal, then start, attempt 2
	// 17s finished
}
