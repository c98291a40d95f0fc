package demo

import (
	"context"
	"fmt"
	"io"
	"net/http"
)

// Visit lets two people visit a host that has /login, /colleagues and Bifrost's
// /oauth/: alice of globex, who connects Microsoft Graph, and gina of initech, whom
// that does not concern. It prints what they see.
func (d *Demo) Visit(ctx context.Context, app http.Handler, out io.Writer) error {
	alice, err := d.Person(ctx, app, "alice@globex")
	if err != nil {
		return err
	}
	gina, err := d.Person(ctx, app, "gina@initech")
	if err != nil {
		return err
	}
	if err := show(ctx, out, alice, "/colleagues"); err != nil {
		return err
	}
	location, err := alice.Connect(ctx, "Microsoft_Graph", "alice@globex.example")
	if err != nil {
		return err
	}
	fmt.Fprintln(out, "connected, and back at", location)
	for _, visit := range []struct {
		who  *Person
		path string
	}{
		{alice, "/colleagues"}, {gina, "/colleagues"}, {alice, "/workflows"},
	} {
		if err := show(ctx, out, visit.who, visit.path); err != nil {
			return err
		}
	}
	return nil
}

func show(ctx context.Context, out io.Writer, person *Person, path string) error {
	status, body, err := person.Get(ctx, path)
	if err == nil {
		_, err = fmt.Fprintln(out, path, status, body)
	}
	return err
}
