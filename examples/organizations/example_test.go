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
	// integration      acme           globex  initech        platform   nobody
	// Microsoft_Graph  shared, 8      own, 4  shared, 8      own, 8     no scope
	// Payroll          not connected  own, 4  not connected  own, 8     no scope
	// Warehouse        not found      own, 4  not found      not found  no scope
	// Directory        own, 3         own, 2  not connected  own, 3     no scope
}
