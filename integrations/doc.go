// Package integrations is the room that answers one question: which token does
// this call use?
//
// A [Definition] names an external API and says how to talk OAuth to it. A
// [Registry] holds the definitions and the connections that organizations made
// for them. [Registry.Get] resolves a name for the scope of a call, an
// organization or the whole platform, and returns an [Integration]: immutable,
// with a token that is fresh.
//
//	graph, err := integrations.Get(ctx, "Microsoft_Graph")
//	...
//	res, err := graph.Client().Do(req)
//
// The scope comes from [Org] or [Global], else from the context. No scope is an
// error, never the global one. An organization without a connection of its own
// falls back to the integration-level connection of the same definition.
//
// The management side ([Registry.List], [Registry.Connect], [Registry.Refresh],
// …) is the same API that package httpadapter translates to HTTP.
//
// Start reading at [Registry.Get].
package integrations
