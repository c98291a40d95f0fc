package tokenstore_test

import (
	"context"
	"fmt"
	"time"

	"github.com/bifrost-go/bifrost/tokenstore"
)

// A ciphertext opens only where it belongs.
func ExampleSealer() {
	ctx := context.Background()
	keys, err := tokenstore.ParseKeyring("2026:" + tokenstore.GenerateKey())
	if err != nil {
		fmt.Println(err)
		return
	}
	sealer := tokenstore.NewSealer(keys)
	acme := tokenstore.Binding{Key: tokenstore.Key{Definition: "crm", Org: "acme"}, Field: "tokens", Generation: 1}
	sealed, err := sealer.Seal(ctx, []byte("refresh-token"), acme)
	if err != nil {
		fmt.Println(err)
		return
	}

	text, err := sealer.Open(ctx, sealed, acme)
	fmt.Println(string(text), err)

	globex := acme
	globex.Key.Org = "globex"
	_, err = sealer.Open(ctx, sealed, globex)
	fmt.Println(err)
	// Output:
	// refresh-token <nil>
	// tokenstore: sealed data does not open (tokens)
}

// Update is one atomic read-modify-write; events go with it.
func ExampleStore_update() {
	ctx := context.Background()
	store := tokenstore.NewMemory()
	key := tokenstore.Key{Definition: "crm", Org: "acme"}
	c, err := store.Update(ctx, key, func(c *tokenstore.Connection, now time.Time) error {
		c.Status, c.GrantID, c.Generation = tokenstore.Active, "grant-1", c.Generation+1
		c.ExpiresAt = now.Add(time.Hour)
		c.Log("connected", "", "ann")
		return nil
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(c.Status, "version", c.Version, "generation", c.Generation, "for", c.ExpiresAt.Sub(c.ReadAt))
	// Output: active version 1 generation 1 for 1h0m0s
}

// A secret is printed by nothing but Reveal.
func ExampleSecret() {
	secret := tokenstore.NewSecret("s3cr3t")
	fmt.Printf("%v %+v %#v %q\n", secret, secret, secret, secret)
	fmt.Println(secret.Reveal())
	// Output:
	// [REDACTED] [REDACTED] [REDACTED] [REDACTED]
	// s3cr3t
}
