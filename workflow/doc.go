// Package workflow is the room for typed Go functions that run for an
// organization, and for the history of their runs.
//
//	sync, err := workflow.Register(bf.Workflows, "sync_users", svc.Sync, // func(context.Context, In) (Out, error)
//		workflow.Description("Pull users"), workflow.Timeout(10*time.Minute))
//	ex, err := sync.Execute(ctx, "org-123", In{Full: true})
//	out, err := ex.Result(ctx)
//
// A workflow has an explicit, unique name, because its history outlives renames
// of Go functions. Input and result travel as JSON; the input's JSON Schema is
// inferred from the Go type, and input that does not fit is refused before
// anything is queued ([InputError]).
//
// Inside a run the context carries the organization, so that integrations.Get
// uses its connections; [ExecutionID] and [Attempt], for idempotency; and
// [Logger], whose lines are stored with the execution. Secrets that the run
// resolves are removed from its result, error and log lines before they are
// stored.
//
// An execution can begin later ([At]), be tried again when it fails ([Retries],
// [Permanent]), be asked for twice and run once ([Key]), be cancelled
// ([Registry.Cancel]), and be executed again ([Registry.Retry]). All of that is in
// the store, so that it does not matter which process does it, or dies.
//
// # Promises
//
// Everything runs at least once. A run belongs to one process at a time, which
// keeps a lease on it; if the process dies, any process that has the workflow
// registered takes the run up again when its lease has run out, as the next
// attempt. Only the holder of the newest attempt can write the outcome. A process
// that was suspended for longer than the lease may overlap with its successor
// until it notices, a third of the lease later: let side effects be idempotent,
// keyed by ExecutionID.
//
// A cancellation asks: the context of the function ends, and what it has done by
// then stays done. One that ignores its context is left to itself after half a
// second, and the execution counts as cancelled.
//
// A panic fails the run, not the process, unless it happens on a goroutine that
// the workflow started itself: Go has no way to catch that.
//
// # Layers
//
// [Registry] registers and runs; [Store] keeps, with a contract that package
// storetest checks; [Memory] is the store for tests, packages sqlite and
// postgres have the durable ones. Start reading at [Register], then [Registry.Execute], then
// perform in run.go.
package workflow
