// Package perf compares Bifrost with what one would use instead, in the figures of
// docs/performance.md. It has benchmarks and nothing else:
//
//	go test ./internal/perf -run '^$' -bench .
//
// Both sides of each comparison run in turns in one process, so that a busy machine
// slows both, and each benchmark reports the ratio itself, with a unit that begins
// with "x-": 1.5 x-bare is one and a half times the bare one's time, or its rate.
// PostgreSQL is one that waits for the disk; without one installed its figures are
// left out. With -short, the million connections are.
package perf
