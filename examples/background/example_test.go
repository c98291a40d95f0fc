package main

import (
	"context"
	"log"
	"os"
)

func Example() {
	if err := run(context.Background(), os.Stdout); err != nil {
		log.Fatal(err)
	}
	// Output:
	// acme: 8 users
	// globex: reconnect needed, invalid_grant: http://localhost:8080/oauth/connect/Microsoft_Graph?org=globex
	// initech: not connected, nothing to do (http://localhost:8080/oauth/connect/Microsoft_Graph?org=initech)
	// umbrella: try again in 2m0s
}
