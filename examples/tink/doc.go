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
// In four steps, the first two because a process that has not got the new key cannot
// open what it sealed:
//
//  1. [Add] a key, and restart every process with that keyset.
//  2. [Promote] it, and restart every process again. From now on it seals.
//  3. Call bifrost's Reseal once, in any process, until it returns nil.
//  4. [Remove] the old keys, and restart every process, ten minutes after the second
//     step at the earliest.
//
// Until the third step is done, Bifrost refuses to start without the old keys, and
// says so. docs/keys.md has more.
package tinkkeys
