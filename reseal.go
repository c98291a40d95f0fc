package bifrost

import (
	"context"

	"github.com/bifrost-go/bifrost/integrations"
)

// Reseal ends a change of [Config].Keys. It seals everything again that is sealed with
// another key than the newest: tokens, what is still to be revoked, client secrets of
// definitions made at run time and secrets of the configuration. When nothing of
// another key is left, New passes without the old keys. As long as it has not returned
// nil, New without one of them fails, and says so.
//
// Call it once, in any process, after all processes have the new key in front:
//
//  1. old,new everywhere: everybody opens what the new key will seal.
//  2. new,old everywhere: the new key seals.
//  3. Reseal, until it returns nil.
//  4. new alone, ten minutes after the second step at the earliest: who began to
//     connect before it would have to begin again.
//
// It works beside everything else, in several processes at once, with or without
// [Bifrost.Start], and ends with ctx. If it is ended or killed, call it again: it goes
// on where it was. Of keys that cannot be told from each other (see tokenstore.AEAD)
// it knows nothing, and seals everything again each time.
//
// What does not open is logged and counted, and keeps every old key in need. A process
// that still seals with an old key puts it in need again within a minute, and logs an
// error, if it was started. docs/keys.md has the whole of it.
func (b *Bifrost) Reseal(ctx context.Context) (integrations.Resealed, error) {
	return b.Integrations.Reseal(ctx)
}
