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

// What may be down for a moment is tried again; what another try cannot heal is not.
func ExampleRetries() {
	r := newExample()
	defer r.Close()
	down := errors.New("503 from the provider")
	fetch := workflow.MustRegister(r, "fetch", func(ctx context.Context, user string) (string, error) {
		switch {
		case user == "":
			return "", workflow.Permanent(errors.New("no such user"))
		case workflow.Attempt(ctx) == 1:
			return "", down
		}
		return fmt.Sprint(user, ", attempt ", workflow.Attempt(ctx)), nil
	}, workflow.Retries(3))

	ctx := context.Background()
	for _, user := range []string{"Ada", ""} {
		ex, err := fetch.Execute(ctx, "org-123", user)
		if err != nil {
			log.Fatal(err)
		}
		out, err := ex.Result(ctx)
		var failed *workflow.RunError
		if errors.As(err, &failed) {
			fmt.Println("failed:", failed.Failure.Message)
			continue
		}
		fmt.Println(out)
	}
	// Output:
	// Ada, attempt 2
	// failed: no such user
}

// A request that is sent twice, because its answer got lost, runs once.
func ExampleKey() {
	r := newExample()
	defer r.Close()
	bill := workflow.MustRegister(r, "bill", func(_ context.Context, cents int) (int, error) { return cents, nil })

	ctx := context.Background()
	first, err := bill.Execute(ctx, "org-123", 990, workflow.Key("invoice-2026-11"))
	if err != nil {
		log.Fatal(err)
	}
	again, err := bill.Execute(ctx, "org-123", 990, workflow.Key("invoice-2026-11"))
	fmt.Println(again.ID() == first.ID(), err)
	_, err = bill.Execute(ctx, "org-123", 1990, workflow.Key("invoice-2026-11"))
	fmt.Println(errors.Is(err, workflow.ErrKeyReused))
	// Output:
	// true <nil>
	// true
}

func ExampleRegistry_Cancel() {
	r := newExample()
	defer r.Close()
	report := workflow.MustRegister(r, "report", func(context.Context, struct{}) (string, error) { return "done", nil })

	ctx := context.Background()
	ex, err := report.Execute(ctx, "org-123", struct{}{}, workflow.At(time.Now().Add(time.Hour)))
	if err != nil {
		log.Fatal(err)
	}
	rec, err := r.Cancel(ctx, ex.ID())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(rec.Status)
	// Output: cancelled
}
