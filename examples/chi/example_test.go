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
	// /colleagues 409 Connect Microsoft Graph in the settings first.
	// connected, and back at http://localhost:8080/settings
	// /colleagues 200 Alice Abara, Inês Infante, Jonas Jansen, Kamala Kumar
	// /colleagues 409 Connect Microsoft Graph in the settings first.
	// /workflows 404 404 page not found
}
