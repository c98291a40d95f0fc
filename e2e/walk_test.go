package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"golang.org/x/net/html"
)

// begun is what the start of a flow answers.
type begun struct {
	AuthorizationURL string `json:"authorization_url"`
	ExpiresAt        string `json:"expires_at"`
}

// begin starts a flow. Whose it is can stand behind the integration's name:
// "CRM?org=acme&user=me".
func (c *client) begin(ctx context.Context, what string) (begun, error) {
	var b begun
	_, err := c.call(ctx, http.MethodPost, "/oauth/connect/"+what, map[string]string{"return_to": "/"}, &b)
	return b, err
}

// connect walks the whole way a browser goes: start, sign-in, consent, callback.
func (c *client) connect(ctx context.Context, what string) error {
	b, err := c.begin(ctx, what)
	if err != nil {
		return err
	}
	return c.walk(ctx, b.AuthorizationURL, "allow", "continue", "accept", "yes")
}

// walk opens the address and fills in whatever forms come, pressing the button
// whose text is one of those given where a form has several, until it is back at
// the site. An error page there is an error.
func (c *client) walk(ctx context.Context, address string, buttons ...string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	for range 10 {
		res, err := c.http.Do(req)
		if err != nil {
			return err
		}
		page, err := readPage(res)
		if err != nil {
			return err
		}
		at := res.Request.URL
		switch {
		case at.Scheme+"://"+at.Host != c.site.base:
			if req, err = page.submit(ctx, at, c.person, buttons); err != nil {
				return fmt.Errorf("%s %s: %w", res.Status, at, err)
			}
		case res.StatusCode == http.StatusOK && !strings.HasPrefix(at.Path, "/oauth/"):
			return nil
		default:
			return fmt.Errorf("the callback answered %s: %s", res.Status, page.text())
		}
	}
	return errors.New("still at the provider after ten pages")
}

// page is a parsed HTML page.
type page struct{ root *html.Node }

func readPage(res *http.Response) (page, error) {
	defer res.Body.Close()
	root, err := html.Parse(io.LimitReader(res.Body, 1<<20))
	return page{root}, err
}

// all returns the elements of one of these kinds below n.
func all(n *html.Node, kinds ...string) []*html.Node {
	var found []*html.Node
	for d := range n.Descendants() {
		if d.Type == html.ElementNode && slices.Contains(kinds, d.Data) {
			found = append(found, d)
		}
	}
	return found
}

func attr(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

func text(n *html.Node) string {
	var words []string
	for d := range n.Descendants() {
		if d.Type == html.TextNode && d.Parent.Data != "style" {
			words = append(words, strings.Fields(d.Data)...)
		}
	}
	return strings.Join(words, " ")
}

func (p page) text() string { return text(p.root) }

// submit fills in the page's last form as that person.
func (p page) submit(ctx context.Context, at *url.URL, person string, buttons []string) (*http.Request, error) {
	forms := all(p.root, "form")
	if len(forms) == 0 {
		return nil, fmt.Errorf("no form on the page: %s", p.text())
	}
	form := forms[len(forms)-1]
	values := url.Values{}
	for _, in := range all(form, "input", "button") {
		name, value := attr(in, "name"), attr(in, "value")
		switch {
		case in.Data == "button" || attr(in, "type") == "submit":
			label := strings.ToLower(strings.TrimSpace(text(in) + value))
			if name == "" || !slices.ContainsFunc(buttons, func(b string) bool { return strings.HasPrefix(label, b) }) {
				continue
			}
		case name == "username" || name == "login":
			value = person
		case name == "password":
			value = "any password will do"
		case attr(in, "type") == "checkbox" || attr(in, "type") == "radio":
			if !slices.ContainsFunc(in.Attr, func(a html.Attribute) bool { return a.Key == "checked" }) {
				continue
			}
		}
		values.Add(name, value)
	}
	action, err := at.Parse(attr(form, "action"))
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, action.String(), strings.NewReader(values.Encode()))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return req, nil
}
