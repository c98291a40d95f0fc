package workflow_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"time"

	"github.com/bifrost-go/bifrost/workflow"
)

// newExample returns a started registry; in a program it is bf.Workflows after
// bf.Start.
func newExample() *workflow.Registry {
	r, err := workflow.New(workflow.Config{Store: workflow.NewMemory(), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		log.Fatal(err)
	}
	if err := r.Start(context.Background()); err != nil {
		log.Fatal(err)
	}
	return r
}

func ExampleRegister() {
	r := newExample()
	defer r.Close()

	type In struct {
		Name string `json:"name"`
	}
	greet, err := workflow.Register(r, "greet", func(_ context.Context, in In) (string, error) {
		return "Hello, " + in.Name, nil
	}, workflow.Description("Say hello"), workflow.Timeout(time.Minute))
	if err != nil {
		log.Fatal(err)
	}

	ctx := context.Background()
	ex, err := greet.Execute(ctx, "org-123", In{Name: "Ada"}) // does not wait
	if err != nil {
		log.Fatal(err)
	}
	out, err := ex.Result(ctx) // does
	fmt.Println(out, err)
	// Output: Hello, Ada <nil>
}

// By name and with JSON, as an HTTP handler does it.
func ExampleRegistry_Execute() {
	r := newExample()
	defer r.Close()
	type In struct {
		Full  bool     `json:"full"`
		Names []string `json:"names,omitempty"`
	}
	workflow.MustRegister(r, "sync_users", func(_ context.Context, in In) (int, error) { return len(in.Names), nil })

	ctx := context.Background()
	rec, err := r.Execute(ctx, "sync_users", workflow.ExecuteRequest{
		Scope: workflow.Org("org-123"),
		Input: json.RawMessage(`{"full": true, "names": ["ada", "alan"]}`),
	})
	fmt.Println(rec.Status, string(rec.Result), err)

	_, err = r.Execute(ctx, "sync_users", workflow.ExecuteRequest{
		Scope: workflow.Org("org-123"),
		Input: json.RawMessage(`{"names": ["ada", 7], "force": true}`),
	})
	var invalid *workflow.InputError
	if errors.As(err, &invalid) {
		for _, f := range invalid.Fields {
			fmt.Println(f.Field, f.Message)
		}
	}
	// Output:
	// succeeded 2 <nil>
	// full is required
	// force is not a known field
	// names[1] must be a string, not number
}

// The history of what ran, and what it logged.
func ExampleLogger() {
	r := newExample()
	defer r.Close()
	workflow.MustRegister(r, "pull", func(ctx context.Context, _ struct{}) (any, error) {
		workflow.Logger(ctx).Info("page read", "page", 1, "users", 20)
		return nil, errors.New("page 2 is missing")
	})

	ctx := context.Background()
	_, err := r.Execute(ctx, "pull", workflow.ExecuteRequest{Scope: workflow.Org("org-123")})
	if err != nil {
		log.Fatal(err)
	}
	page, err := r.Executions(ctx, workflow.Filter{Scope: workflow.Org("org-123")}, "")
	if err != nil {
		log.Fatal(err)
	}
	for _, rec := range page.Items {
		fmt.Println(rec.Workflow, rec.Status, rec.Error.Code, "-", rec.Error.Message)
		lines, err := r.Logs(ctx, rec.ID)
		if err != nil {
			log.Fatal(err)
		}
		for _, l := range lines {
			fmt.Println(l.Level, l.Message, string(l.Attrs))
		}
	}
	// Output:
	// pull failed error - page 2 is missing
	// INFO page read {"page":1,"users":20}
}
