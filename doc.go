// Package bifrost adds "Connect your Microsoft, Google, Slack … account" to a
// server that exists already, for many organizations, and hands out access tokens
// that stay fresh.
//
// [New] wires the rooms together on one store. Mount package httpadapter's handler
// into your router, define integrations, and ask for them in code:
//
//	graph, err := integrations.Get(ctx, "Microsoft_Graph")
//	...
//	res, err := graph.Client().Do(req)
//
// [Bifrost.Start] begins what goes on in the background: connections that are used are
// renewed before anybody has to wait, the others often enough to stay alive.
// [Config].Events tells what happens to them, [Config].Tracer what is sent; module
// otel passes both on to OpenTelemetry.
//
// The rooms, from the top:
//
//   - httpadapter: connect, callback, JSON API and pages for net/http
//   - bifrost: wiring and lifecycle
//   - workflow: registered functions, their executions and history
//   - integrations: definitions, and which connection a call uses
//   - oauthflow: OAuth itself, and the refresh protocol
//   - tokenstore: what must not be lost, sealed; package sqlite keeps it in a file,
//     package postgres in a PostgreSQL
//
// Imports point down only. The compiled example of this package is the whole of a
// program that uses it; start reading there.
package bifrost
