// Package documentstore is a token store of one's own, for [bifrost.Config].Tokens.
//
// What one learns here: what a store must be able to do, which is less than the
// length of tokenstore.Store suggests; where its promises come from; and how to
// know that one has kept them: storetest.Run in store_test.go.
//
// This one keeps everything in a single document that can be read, and swapped if
// nobody else has swapped it meanwhile ([Document]): an object in S3 (If-Match), a
// key in etcd or Consul, a row of a table. That one operation gives all of it: a
// record and its events are written together, a flow is taken by one caller only,
// and nothing is lost between processes. It does for hundreds of connections; each
// write rewrites them all.
//
// Nothing here is secret or sealed by hand: what a store is given has been sealed
// already. Start reading at [Document], then [Store.Update].
package documentstore
