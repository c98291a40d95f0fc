// Quickstart does Bifrost's main job in one command, on a bare machine: connect
// an account in a browser, see it active, execute a workflow that calls the API,
// and watch tokens being renewed.
//
//	go run ./examples/quickstart
//
// Without settings it brings a stand-in for Microsoft's identity platform and
// Graph in the same process (standin.go). With OAUTH_CLIENT_ID and
// OAUTH_CLIENT_SECRET it talks to the real ones, or, with the other variables that
// the README lists, to any provider. What a host of its own would write is in
// main.go and users.go; the rest is settings and the stand-in.
package main
