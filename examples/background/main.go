// Background is a job without HTTP: it walks the organizations and calls an API
// for each of them with that organization's connection.
//
// What one learns here: how code outside of requests and workflow runs says whose
// connection it wants, and how it tells the three things apart that can be wrong:
// nobody has connected, a person must connect again, and try later. They come from
// Get, and from Client as well, which renews tokens while it works.
//
//	go run ./examples/background
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"time"

	"github.com/bifrost-go/bifrost"
	"github.com/bifrost-go/bifrost/examples/demo"
	"github.com/bifrost-go/bifrost/integrations"
	"github.com/bifrost-go/bifrost/oauthtest"
)

func main() {
	if err := run(context.Background(), os.Stdout); err != nil {
		log.Fatal(err)
	}
}

// perOrg is how long one organization may take: a slow one must not hold up the
// others.
const perOrg = time.Minute

// job does its work for every organization. What is wrong with one is no reason to
// leave the others out.
func job(ctx context.Context, bf *bifrost.Bifrost, orgs []string, out io.Writer) error {
	for _, org := range orgs {
		n, err := countUsers(ctx, bf, org)
		var why *integrations.Error
		switch {
		case ctx.Err() != nil:
			return ctx.Err() // the job was stopped
		case err == nil:
			fmt.Fprintf(out, "%s: %d users\n", org, n)
		case errors.Is(err, integrations.ErrNotConnected) && errors.As(err, &why):
			fmt.Fprintf(out, "%s: not connected, nothing to do (%s)\n", org, why.ConnectURL)
		case errors.Is(err, integrations.ErrReauthRequired) && errors.As(err, &why):
			// Trying again is useless: tell a person of that organization.
			fmt.Fprintf(out, "%s: reconnect needed, %s: %s\n", org, why.Reason, why.ConnectURL)
		case errors.Is(err, integrations.ErrUnavailable) && errors.As(err, &why):
			// Nobody has to do anything: this organization's turn comes again.
			fmt.Fprintf(out, "%s: try again in %s\n", org, why.RetryAfter.Round(time.Minute))
		default:
			fmt.Fprintf(out, "%s: %v\n", org, err)
		}
	}
	return nil
}

// countUsers calls the API for one organization.
func countUsers(ctx context.Context, bf *bifrost.Bifrost, org string) (int, error) {
	ctx, cancel := context.WithTimeout(bf.WithOrg(ctx, org), perOrg)
	defer cancel()
	// The same without a context of the organization's:
	// bf.Integrations.Get(ctx, "Microsoft_Graph", integrations.Org(org))
	graph, err := integrations.Get(ctx, "Microsoft_Graph")
	if err != nil {
		return 0, err
	}
	names, err := demo.UserNames(ctx, graph.Client())
	return len(names), err
}

// run sets up four organizations of which one is well, and does the job once.
func run(ctx context.Context, out io.Writer) (err error) {
	d, err := demo.New()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	for org, account := range map[string]string{
		"acme": "alice@acme.example", "globex": "ines@globex.example", "umbrella": "kamala@globex.example",
	} {
		if err := d.Connect(ctx, "Microsoft_Graph", account, integrations.Org(org)); err != nil {
			return err
		}
	}
	// An hour later: ines has changed her password, and while umbrella's token is
	// being renewed, the provider has a bad moment.
	if _, err := d.Provider.Revoke("ines@globex.example"); err != nil {
		return err
	}
	if err := d.Provider.ExpireAll(); err != nil {
		return err
	}
	d.Provider.Script(oauthtest.Refresh, oauthtest.Serve(), oauthtest.Serve(), oauthtest.Answer(oauthtest.Reply{
		Status: http.StatusServiceUnavailable, Header: http.Header{"Retry-After": {"120"}},
	}))
	return job(ctx, d.Bifrost, []string{"acme", "globex", "initech", "umbrella"}, out)
}
