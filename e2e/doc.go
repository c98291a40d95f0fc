// Package e2e holds the end-to-end tests: they build the quickstart, run it as a
// child process on loopback, and look at it from outside only: over HTTP, in a
// browser, in its database file and in what it prints. Where the matter is several
// processes that embed Bifrost, they run the test binary again. See README.md.
package e2e
