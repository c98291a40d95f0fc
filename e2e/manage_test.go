package e2e_test

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"sync"
)

// created is the name of the integrations that tests make over HTTP.
const created = "CRM"

// object is a JSON object.
type object = map[string]any

// path is the address of an integration, or of what is below it. Whose it is can
// stand behind the name: "CRM?org=acme&user=me".
func path(what, below string) string {
	name, query, found := strings.Cut(what, "?")
	address := "/api/integrations/" + url.PathEscape(name) + below
	if found {
		address += "?" + query
	}
	return address
}

// create makes an integration.
func (c *client) create(ctx context.Context, definition object) (status, error) {
	var s status
	_, err := c.call(ctx, http.MethodPost, "/api/integrations", definition, &s)
	return s, err
}

// change merges a patch into a definition (RFC 7396).
func (c *client) change(ctx context.Context, what string, patch object) error {
	_, err := c.call(ctx, http.MethodPatch, path(what, ""), patch, nil)
	return err
}

// removed is what a deletion took along.
type removed struct {
	Connections int `json:"connections"`
	Pending     int `json:"pending"`
	Unsupported int `json:"unsupported"`
	Failed      int `json:"failed"`
}

// remove deletes an integration.
func (c *client) remove(ctx context.Context, what string) (removed, error) {
	var r removed
	_, err := c.call(ctx, http.MethodDelete, path(what, ""), nil, &r)
	return r, err
}

// look reads an integration's state.
func (c *client) look(ctx context.Context, what string) (status, error) {
	var s status
	_, err := c.call(ctx, http.MethodGet, path(what, ""), nil, &s)
	return s, err
}

// mapTo gives an organization an entity id of its own.
func (c *client) mapTo(ctx context.Context, what, org, entity string) error {
	_, err := c.call(ctx, http.MethodPut, path(what, "/mappings/"+org), object{"entity_id": entity, "entity_name": "Tenant of " + org}, nil)
	return err
}

// configure sets configuration values.
func (c *client) configure(ctx context.Context, what string, values object) error {
	_, err := c.call(ctx, http.MethodPatch, path(what, "/config"), values, nil)
	return err
}

// refresh renews or mints the token.
func (c *client) refresh(ctx context.Context, what string) (status, error) {
	var s status
	_, err := c.call(ctx, http.MethodPost, path(what, "/refresh"), nil, &s)
	return s, err
}

// disconnect removes the connection, and says whether the provider is asked to revoke it.
func (c *client) disconnect(ctx context.Context, what string) (status, error) {
	var s status
	_, err := c.call(ctx, http.MethodPost, path(what, "/disconnect"), nil, &s)
	return s, err
}

// tested is what came of reading test_url.
type tested struct {
	OK         bool `json:"ok"`
	HTTPStatus int  `json:"http_status"`
}

// test reads the definition's test_url with the connection's token.
func (c *client) test(ctx context.Context, what string) (tested, error) {
	var r tested
	_, err := c.call(ctx, http.MethodPost, path(what, "/test"), nil, &r)
	return r, err
}

// parallel runs n calls at once, and returns their errors.
func parallel(n int, call func(i int) error) []error {
	var (
		wg   sync.WaitGroup
		mu   sync.Mutex
		errs []error
	)
	for i := range n {
		wg.Go(func() {
			if err := call(i); err != nil {
				mu.Lock()
				defer mu.Unlock()
				errs = append(errs, err)
			}
		})
	}
	wg.Wait()
	return errs
}
