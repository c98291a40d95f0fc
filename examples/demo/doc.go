// Package demo is what the examples share, so that each of them shows one thing:
// a provider in the same process, a Bifrost with an integration for it, the
// host's sessions, and people with browsers. Nothing in it opens a socket.
//
// A host of your own has all of these already. Start reading at [New].
package demo
