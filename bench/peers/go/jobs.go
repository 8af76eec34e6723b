// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// A program has one scheduler, whose threads are started once: what others construct anew for every
// run is GOMAXPROCS here. There is no outside either: what submits is a goroutine too.
const workers = 2

// slots count what has happened. Goroutines know no thread that they could count on, so each kind of
// job picks a slot by a number of its own.
var slots [64]struct {
	value atomic.Int64
	_     [120]byte
}

func count(number int) { slots[number%len(slots)].value.Add(1) }

func counted() (sum int) {
	for i := range slots {
		sum += int(slots[i].value.Load())
	}
	return sum
}

// waitUntil sleeps, so that the watcher takes no CPU from the workers.
func waitUntil(condition func() bool) {
	for !condition() {
		time.Sleep(100 * time.Microsecond)
	}
}

func cpuSeconds() float64 {
	var usage syscall.Rusage
	expect(syscall.Getrusage(syscall.RUSAGE_SELF, &usage) == nil)
	of := func(t syscall.Timeval) float64 { return float64(t.Sec) + float64(t.Usec)*1e-6 }
	return of(usage.Utime) + of(usage.Stime)
}

func throughput(producers int) figures {
	const number = 2_000_000
	submitAll := func(jobs int) time.Duration {
		before, start := counted(), time.Now()
		for p := 0; p < producers; p++ {
			go func() {
				for i := 0; i < jobs/producers; i++ {
					i := i
					go func() { count(i) }()
				}
			}()
		}
		waitUntil(func() bool { return counted()-before >= jobs })
		return time.Since(start)
	}
	submitAll(number / 10) // to warm up, as everywhere
	before, cpu := counted(), cpuSeconds()
	f := timed(submitAll(number)).items(number)
	f["cpu_ns_per_job"] = (cpuSeconds() - cpu) * 1e9 / number
	expect(counted()-before == number)
	if reportsMemory {
		f["rss_mb"] = memory("VmHWM:") / 1e6
	}
	return f
}

// inside: a goroutine starts 10,000 empty ones and then itself again, a hundred times.
func inside() figures {
	const many, times = 10_000, 100
	var again func(left int)
	again = func(left int) {
		for i := 0; i < many; i++ {
			i := i
			go func() { count(i) }()
		}
		if left > 1 {
			go again(left - 1)
		}
	}
	doAll := func(times int) time.Duration {
		before, start := counted(), time.Now()
		go again(times)
		waitUntil(func() bool { return counted()-before >= many*times })
		elapsed := time.Since(start)
		expect(counted()-before == many*times)
		return elapsed
	}
	doAll(times / 10)
	return timed(doAll(times)).items(many * times)
}

// relay: each goroutine starts the next.
func relay() figures {
	const hops = 200_000
	var hop func(left int)
	hop = func(left int) {
		count(0)
		if left > 1 {
			go hop(left - 1)
		}
	}
	doAll := func(hops int) time.Duration {
		before, start := counted(), time.Now()
		go hop(hops)
		waitUntil(func() bool { return counted()-before >= hops })
		elapsed := time.Since(start)
		expect(counted()-before == hops)
		return elapsed
	}
	doAll(hops / 10)
	return timed(doAll(hops)).items(hops)
}

func roundTrip() figures {
	const trips = 10_000
	times := make([]float64, 0, trips)
	doAll := func(trips int) time.Duration {
		times = times[:0]
		sum, start := 0, time.Now()
		for i := 0; i < trips; i++ {
			before := time.Now()
			result := make(chan int, 1)
			i := i
			go func() { result <- i }()
			sum += <-result
			times = append(times, float64(time.Since(before))/1e3)
		}
		elapsed := time.Since(start)
		expect(sum == trips*(trips-1)/2)
		return elapsed
	}
	doAll(trips / 10)
	return timed(doAll(trips)).percentiles(times).work(trips)
}

func pingPong() figures {
	const trips = 20_000
	doAll := func(trips int) time.Duration {
		to, fro := make(chan int, 1), make(chan int, 1)
		start := time.Now()
		go func() {
			for i := 0; i < trips; i++ {
				fro <- <-to
			}
		}()
		last := make(chan int)
		go func() {
			got := 0
			for i := 1; i <= trips; i++ {
				to <- i
				got = <-fro
			}
			last <- got
		}()
		got := <-last
		elapsed := time.Since(start)
		expect(got == trips)
		return elapsed
	}
	doAll(trips / 10)
	return timed(doAll(trips)).items(trips)
}

func fanOut() figures {
	const width, rounds = 1_000, 200
	doAll := func(rounds int) time.Duration {
		before, start := counted(), time.Now()
		for round := 0; round < rounds; round++ {
			var children sync.WaitGroup
			children.Add(width)
			for i := 0; i < width; i++ {
				i := i
				go func() {
					count(i)
					children.Done()
				}()
			}
			children.Wait()
		}
		elapsed := time.Since(start)
		expect(counted()-before == rounds*width)
		return elapsed
	}
	doAll(rounds / 10)
	return timed(doAll(rounds)).items(rounds * width)
}

// paced: a goroutine every 200 microseconds.
func paced() figures {
	const number = 2_000
	before, cpu := counted(), cpuSeconds()
	next := time.Now()
	for i := 0; i < number; i++ {
		next = next.Add(200 * time.Microsecond)
		time.Sleep(time.Until(next))
		i := i
		go func() { count(i) }()
	}
	waitUntil(func() bool { return counted()-before >= number })
	used := cpuSeconds() - cpu
	f := timed(time.Duration(used*1e9) + 1).work(number)
	f["cpu_ns_per_job"] = used * 1e9 / number
	return f
}

// startWaiting starts goroutines that wait for what never comes, and returns when all wait.
func startWaiting(number int) context.CancelFunc {
	never := make(chan int)
	ended, cancel := context.WithCancel(context.Background())
	var waiting atomic.Int64
	for i := 0; i < number; i++ {
		i := i
		go func() {
			waiting.Add(1)
			select {
			case <-never:
			case <-ended.Done():
				count(i)
			}
		}()
	}
	for waiting.Load() != int64(number) {
		time.Sleep(time.Millisecond)
	}
	return cancel
}

func cancelWaiting() figures {
	const tasks = 100_000
	before := counted()
	cancel := startWaiting(tasks)
	start := time.Now()
	cancel()
	waitUntil(func() bool { return counted()-before >= tasks })
	f := timed(time.Since(start)).items(tasks)
	expect(counted()-before == tasks)
	return f
}

func waitingTask() figures {
	const tasks = 10_000
	before := memory("VmRSS:")
	cancel := startWaiting(tasks)
	grown := memory("VmRSS:") - before
	cancel()
	f := timed(1).work(tasks)
	f["bytes_per_task"] = grown / tasks
	return f
}

func on(processors int, run func() figures) func() figures {
	return func() figures {
		runtime.GOMAXPROCS(processors)
		runtime.GC() // what an earlier run has left
		return run()
	}
}

func jobs() []benchmark {
	all := []benchmark{
		{"relay/go", on(workers, relay)},
		{"round_trip/go", on(workers, roundTrip)},
		{"paced/go", on(workers, paced)},
		{"ping_pong/go", on(workers, pingPong)},
		{"cancel_waiting/go", on(workers, cancelWaiting)},
		{"waiting_task/go", on(workers, waitingTask)},
	}
	for _, producers := range []int{1, 2, 4, 8} {
		producers := producers
		all = append(all, benchmark{fmt.Sprintf("throughput/go/%d", producers),
			on(workers, func() figures { return throughput(producers) })})
	}
	for _, processors := range []int{1, 2, 4} {
		all = append(all, benchmark{fmt.Sprintf("inside/go/%d", processors), on(processors, inside)},
			benchmark{fmt.Sprintf("fan_out/go/%d", processors), on(processors, fanOut)})
	}
	return all
}
