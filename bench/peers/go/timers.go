// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"fmt"
	"os"
	"sync/atomic"
	"time"
)

// As many as in bench/timers.cpp.
const timersCount = 1_000_000
const sleepersCount = 200_000

// mix is the permutation of bench/problems/mix.hpp.
func mix(x uint32) uint32 {
	x ^= x >> 16
	x *= 0x7feb352d
	x ^= x >> 15
	x *= 0x846ca68b
	return x ^ x>>16
}

type deadlines struct {
	first time.Time
	span  uint32 // in microseconds
}

// newDeadlines are near, to fire, or far, to be cancelled.
func newDeadlines(fires bool) deadlines {
	if fires {
		return deadlines{time.Now().Add(5 * time.Second), 10_000}
	}
	return deadlines{time.Now().Add(time.Hour), 1_000_000_000}
}

func (d deadlines) at(i int) time.Time {
	return d.first.Add(time.Duration(mix(uint32(i))%d.span) * time.Microsecond)
}

// sleepToFirst returns when the first deadline is there, which must be ahead.
func (d deadlines) sleepToFirst() {
	if time.Now().After(d.first) {
		fmt.Fprintln(os.Stderr, "arming took too long for this machine")
		os.Exit(3)
	}
	time.Sleep(time.Until(d.first))
}

func timerRun(fires bool) figures {
	before := counted()
	all := make([]*time.Timer, timersCount)
	arming := time.Now()
	when := newDeadlines(fires)
	for i := range all {
		i := i
		all[i] = time.AfterFunc(time.Until(when.at(i)), func() { count(i) })
	}
	armed := time.Since(arming)
	var start time.Time
	if fires {
		when.sleepToFirst()
		start = when.first
		waitUntil(func() bool { return counted()-before >= timersCount })
	} else {
		start = time.Now()
		for i, timer := range all {
			if timer.Stop() {
				count(i)
			}
		}
	}
	f := timed(time.Since(start)).items(timersCount)
	expect(counted()-before == timersCount)
	f["arm_s"] = armed.Seconds()
	return f
}

func sleeperRun(fires bool) figures {
	before := counted()
	var waiting, asExpected atomic.Int64
	ended, cancel := context.WithCancel(context.Background())
	defer cancel()
	arming := time.Now()
	when := newDeadlines(fires)
	for i := 0; i < sleepersCount; i++ {
		i := i
		go func() {
			timer := time.NewTimer(time.Until(when.at(i)))
			waiting.Add(1)
			fired := false
			select {
			case <-timer.C:
				fired = true
			case <-ended.Done():
				timer.Stop()
			}
			if fired == fires {
				asExpected.Add(1)
			}
			count(i)
		}()
	}
	for waiting.Load() < sleepersCount {
		time.Sleep(time.Millisecond)
	}
	armed := time.Since(arming)
	start := when.first
	if fires {
		when.sleepToFirst()
	} else {
		start = time.Now()
		cancel()
	}
	waitUntil(func() bool { return counted()-before >= sleepersCount })
	f := timed(time.Since(start)).items(sleepersCount)
	expect(counted()-before == sleepersCount && asExpected.Load() == sleepersCount)
	f["arm_s"] = armed.Seconds()
	return f
}

func timers() []benchmark {
	return []benchmark{
		{"timer_fire/go", on(workers, func() figures { return timerRun(true) })},
		{"timer_cancel/go", on(workers, func() figures { return timerRun(false) })},
		{"sleeper_fire/go", on(workers, func() figures { return sleeperRun(true) })},
		{"sleeper_cancel/go", on(workers, func() figures { return sleeperRun(false) })},
	}
}
