package sqlite_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/bifrost-go/bifrost/sqlite"
	"github.com/bifrost-go/bifrost/tokenstore"
)

// One file for everything; it is made if there is none.
func ExampleOpen() {
	dir, err := os.MkdirTemp("", "bifrost")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = os.RemoveAll(dir) }()
	db, err := sqlite.Open(filepath.Join(dir, "bifrost.db"))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = db.Close() }()

	ctx := context.Background()
	key := tokenstore.Key{Definition: "crm", Org: "acme"}
	_, err = db.Tokens().Update(ctx, key, func(c *tokenstore.Connection, _ time.Time) error {
		c.Status = tokenstore.Active
		return nil
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	c, err := db.Tokens().Load(ctx, key)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(c.Org, c.Status, c.Version)
	// Output: acme active 1
}
