package documentstore_test

import (
	"context"
	"fmt"
	"log"

	"github.com/bifrost-go/bifrost"
	"github.com/bifrost-go/bifrost/examples/demo"
	documentstore "github.com/bifrost-go/bifrost/examples/tokenstore"
	"github.com/bifrost-go/bifrost/integrations"
	"github.com/bifrost-go/bifrost/tokenstore"
)

// Config.Tokens replaces the token store alone; executions stay in Config.Store.
func Example() {
	ctx := context.Background()
	document := &documentstore.Variable{}
	d, err := demo.New(func(cfg *bifrost.Config) { cfg.Tokens = documentstore.New(document) })
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = d.Close() }()
	if err := d.Connect(ctx, "Microsoft_Graph", "alice@acme.example", integrations.Org("acme")); err != nil {
		log.Print(err)
		return
	}

	// Another process sees the same connection in the document.
	connections, err := documentstore.New(document).List(ctx, tokenstore.Match{}, nil, 10)
	if err != nil {
		log.Print(err)
		return
	}
	for _, c := range connections {
		fmt.Println(c.Org, c.Status)
	}
	// Output: acme active
}
