// Organizations shows whose account answers when several organizations use several
// integrations.
//
// What one learns here: that a connection of one's own goes before the shared one,
// and when there is no shared one (NoFallback, a definition that belongs to one
// organization); how to name an organization, or none, from outside (Org, Global);
// how a mapping leads each organization to its own tenant at the provider, with an
// application's own credentials (client credentials) where nobody has to connect;
// and how configuration has defaults that an organization may override.
//
//	go run ./examples/organizations
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"strconv"
	"text/tabwriter"

	"github.com/bifrost-go/bifrost"
	"github.com/bifrost-go/bifrost/examples/demo"
	"github.com/bifrost-go/bifrost/integrations"
	"github.com/bifrost-go/bifrost/oauthflow"
)

func main() {
	if err := run(context.Background(), os.Stdout); err != nil {
		log.Fatal(err)
	}
}

// define adds to Microsoft_Graph, which has everything as it comes: organizations
// connect their own accounts, and those that have not use the shared one.
func define(bf *bifrost.Bifrost) error {
	payroll := demo.Graph() // salaries: nobody may see them through somebody else's account
	payroll.Name, payroll.NoFallback = "Payroll", true

	warehouse := demo.Graph() // for the others it does not exist
	warehouse.Name, warehouse.Org = "Warehouse", "globex"

	directory := demo.Graph() // nobody connects it: the application has access itself
	directory.Name, directory.NoFallback = "Directory", true
	directory.DefaultEntityID = "acme" // the platform's own tenant
	directory.OAuth.Flow = oauthflow.ClientCredentials
	directory.OAuth.Scopes = []string{"https://graph.oauthtest.example/.default"}
	directory.Config = []integrations.ConfigField{{
		Key: "page_size", Type: integrations.ConfigInt, Description: "Users to read at once", Default: 3,
	}}
	for _, d := range []integrations.Definition{payroll, warehouse, directory} {
		if err := bf.Integrations.Define(d); err != nil {
			return err
		}
	}
	return nil
}

// settle is what administrators do once for each organization.
func settle(ctx context.Context, reg *integrations.Registry) error {
	for org, tenant := range map[string]string{"acme": "acme", "globex": "globex"} {
		m := integrations.Mapping{Org: org, EntityID: tenant, EntityName: "Tenant of " + org}
		if _, err := reg.SetMapping(ctx, "Directory", m, "admin", integrations.Global()); err != nil {
			return err
		}
	}
	_, err := reg.SetConfig(ctx, "Directory", map[string]any{"page_size": 2}, "admin", integrations.Org("globex"))
	return err
}

// run connects a few accounts, and prints whose answers whom.
func run(ctx context.Context, out io.Writer) (err error) {
	d, err := demo.New()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	reg := d.Bifrost.Integrations
	if err := define(d.Bifrost); err != nil {
		return err
	}
	if err := settle(ctx, reg); err != nil {
		return err
	}
	for _, c := range []struct {
		integration, account string
		scope                integrations.Option
	}{
		{"Microsoft_Graph", "hiro@acme.example", integrations.Global()}, // the shared one
		{"Microsoft_Graph", "ines@globex.example", integrations.Org("globex")},
		{"Payroll", "hiro@acme.example", integrations.Global()}, // for the platform's own use
		{"Payroll", "kamala@globex.example", integrations.Org("globex")},
		{"Warehouse", "jonas@globex.example", integrations.Org("globex")},
	} {
		if err := d.Connect(ctx, c.integration, c.account, c.scope); err != nil {
			return err
		}
	}

	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "integration\tacme\tglobex\tinitech\tplatform\tnobody")
	scopes := []context.Context{
		d.Bifrost.WithOrg(ctx, "acme"), d.Bifrost.WithOrg(ctx, "globex"), d.Bifrost.WithOrg(ctx, "initech"),
		d.Bifrost.WithGlobal(ctx), // said, never a default
		ctx,                       // no scope is an error, never the most powerful scope
	}
	for _, name := range []string{"Microsoft_Graph", "Payroll", "Warehouse", "Directory"} {
		fmt.Fprint(table, name)
		for _, ctx := range scopes {
			fmt.Fprint(table, "\t", ask(ctx, reg, name))
		}
		fmt.Fprintln(table)
	}
	return table.Flush()
}

// ask calls the API in the scope of ctx, and says whose connection answered, and
// with how many users.
func ask(ctx context.Context, reg *integrations.Registry, name string) string {
	in, err := reg.Get(ctx, name) // or integrations.Get(ctx, name), where ctx has a scope
	switch {
	case errors.Is(err, integrations.ErrNotConnected):
		return "not connected"
	case errors.Is(err, integrations.ErrNotFound):
		return "not found"
	case errors.Is(err, integrations.ErrNoOrg):
		return "no scope"
	case err != nil:
		return err.Error()
	}
	client := in.Client()
	if size := in.Config().Int("page_size"); size > 0 {
		client.Transport = paged{client.Transport, size}
	}
	names, err := demo.UserNames(ctx, client)
	switch {
	case err != nil:
		return err.Error()
	case in.Fallback():
		return "shared, " + strconv.Itoa(len(names))
	}
	return "own, " + strconv.Itoa(len(names))
}

// paged asks for so many users at once.
type paged struct {
	next http.RoundTripper
	size int64
}

// RoundTrip implements http.RoundTripper.
func (p paged) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	query := req.URL.Query()
	query.Set("$top", strconv.FormatInt(p.size, 10))
	req.URL.RawQuery = query.Encode()
	return p.next.RoundTrip(req)
}
