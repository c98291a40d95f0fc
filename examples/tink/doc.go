// Package tinkkeys gives Bifrost its sealing keys from a Tink keyset.
//
// What one learns here: how a keyset becomes [bifrost.Config].Keys, where the keyset
// itself is kept, and how to rotate. Any Tink AEAD fits as it is; [Keys] adds the
// ids of the keys, so that Bifrost can tell at start which of them is missing.
//
// The keyset is stored encrypted by a key that never leaves your key management
// service: keysets and databases may then lie in the same backup. Tink has clients
// for the services of AWS, Google Cloud and HashiCorp Vault, each of which gives
// the tink.AEAD that [Create] and [Open] take. It is asked once, at start.
//
// # Rotation
//
// In two steps, because a process that has not got the new key cannot open what it
// sealed:
//
//  1. [Add] a key, and restart every process with that keyset.
//  2. [Promote] it, and restart every process again. From now on it seals.
//
// Keep the old keys in the keyset. A token is sealed with the newest key when it is
// renewed next, which for an idle connection may be never, and Bifrost refuses to
// start without a key that it has ever sealed with.
package tinkkeys
