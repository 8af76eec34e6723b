// SPDX-License-Identifier: MIT

// Command peers-go answers the questions of bench/ with goroutines, for bench/external.py.
//
//	peers-go --list                    the names of what there is
//	peers-go --compiler                what has compiled this
//	peers-go [--rss] --round N NAME... does these once and prints their runs as a JSON list
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"sort"
	"strconv"
	"strings"
	"time"
)

// figures of a run, by the names that the JSON has.
type figures map[string]any

type benchmark struct {
	name string
	run  func() figures
}

var reportsMemory bool

func expect(correct bool) {
	if !correct {
		fmt.Fprintln(os.Stderr, "wrong result")
		os.Exit(1)
	}
}

func timed(elapsed time.Duration) figures {
	return figures{"real_time": float64(elapsed) / 1e6}
}

// work says how much a run does; the scripts put only equal amounts side by side.
func (f figures) work(operations int) figures {
	f["work"] = operations
	return f
}

// items is the same where the operations a second are the answer.
func (f figures) items(operations int) figures {
	f["items_per_second"] = float64(operations) / f["real_time"].(float64) * 1e3
	return f.work(operations)
}

func (f figures) percentiles(microseconds []float64) figures {
	sort.Float64s(microseconds)
	for name, share := range map[string]float64{"p50_us": 0.5, "p90_us": 0.9, "p99_us": 0.99, "p99_9_us": 0.999} {
		f[name] = microseconds[int(share*float64(len(microseconds)-1))]
	}
	return f
}

// memory is a size that /proc/self/status gives, in bytes.
func memory(name string) float64 {
	status, _ := os.ReadFile("/proc/self/status")
	for _, line := range strings.Split(string(status), "\n") {
		if strings.HasPrefix(line, name) {
			kilobytes, _ := strconv.ParseFloat(strings.Fields(line)[1], 64)
			return kilobytes * 1024
		}
	}
	return 0
}

func (b benchmark) record(round int) figures {
	f := b.run()
	name := b.name + "/iterations:1/manual_time"
	for key, value := range map[string]any{"name": name, "run_name": name, "run_type": "iteration", "repetitions": 1,
		"repetition_index": round, "threads": 1, "iterations": 1, "cpu_time": 0.0, "time_unit": "ms"} {
		f[key] = value
	}
	return f
}

func usage() {
	fmt.Fprintln(os.Stderr, "usage: peers-go --list | --compiler | [--rss] --round N NAME...")
	os.Exit(2)
}

func main() {
	all := append(jobs(), timers()...)
	round := 0
	var runs []figures
arguments:
	for i := 1; i < len(os.Args); i++ {
		switch argument := os.Args[i]; argument {
		case "--list":
			for _, each := range all {
				fmt.Println(each.name)
			}
			return
		case "--compiler":
			fmt.Println(strings.Replace(runtime.Version(), "go", "go ", 1))
			return
		case "--rss":
			reportsMemory = true
		case "--round":
			i++
			if i == len(os.Args) {
				usage()
			}
			number, err := strconv.Atoi(os.Args[i])
			if err != nil {
				usage()
			}
			round = number
		default:
			for _, each := range all {
				if each.name == argument {
					runs = append(runs, each.record(round))
					continue arguments
				}
			}
			usage()
		}
	}
	if runs == nil {
		usage()
	}
	text, err := json.MarshalIndent(runs, "", " ")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(string(text))
}
