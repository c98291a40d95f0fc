// Package tokenstore is the room for what must not be lost: connections (the
// grants customers gave), pending authorization flows, and the history of both.
//
// [Store] is the small interface every store implements. It offers one atomic
// read-modify-write of a record and a few indexes, and knows nothing of OAuth:
// the protocol that makes refreshing safe is a set of pure functions over
// [Connection] in package oauthflow. [Memory] is the store for tests; packages
// sqlite and postgres have the durable ones. Package storetest is the suite that
// every store passes, yours too.
//
// Tokens reach a store sealed. [Sealer] binds each ciphertext to the key,
// field and generation it belongs to, so that ciphertexts moved between rows do
// not open; [Keyring] is the built-in AES-256-GCM key set, and any Tink AEAD fits
// in its place.
//
// Start reading at [Store], then [Connection].
package tokenstore
