package oauthtest

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// Browser walks the provider's pages as a person would: it opens the
// authorization URL, fills in the sign-in form and decides on the consent page.
// It stops at the redirect back to the application.
type Browser struct {
	// Client sends the requests; default: a plain http.Client.
	Client *http.Client
	// User is the user name, with or without a domain; default "alice".
	User string
	// Deny presses Deny on the consent page.
	Deny bool
}

// Authorize walks a provider that answers [Provider.RoundTripper], or any host at
// all: it signs in as user, allows, and returns the callback URL with its code.
func (p *Provider) Authorize(ctx context.Context, authorizationURL, user string) (callbackURL string, err error) {
	return Browser{Client: p.inProcess(), User: user}.Walk(ctx, authorizationURL)
}

// Deny is Authorize for a user who presses Deny: the callback URL has an error.
func (p *Provider) Deny(ctx context.Context, authorizationURL, user string) (callbackURL string, err error) {
	return Browser{Client: p.inProcess(), User: user, Deny: true}.Walk(ctx, authorizationURL)
}

func (p *Provider) inProcess() *http.Client {
	return &http.Client{Transport: &transport{provider: p}}
}

// maxSteps is how many pages Walk looks at before it gives up: one more than
// there are.
const maxSteps = 3

// Walk returns the URL that the provider sends the browser back to, which it does
// not open. The error tells the page's own message if there is no way on.
func (b Browser) Walk(ctx context.Context, authorizationURL string) (callbackURL string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, authorizationURL, nil)
	if err != nil {
		return "", fmt.Errorf("oauthtest: %w", err)
	}
	for range maxSteps {
		location, page, err := b.open(req)
		if err != nil || location != "" {
			return location, err
		}
		if req, err = b.submit(ctx, req.URL, page); err != nil {
			return "", err
		}
	}
	return "", errors.New("oauthtest: the provider shows one form after the other; is the user name valid?")
}

// open sends a request; it returns where it redirects to, or else its page.
func (b Browser) open(req *http.Request) (location string, page *document, err error) {
	client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	if b.Client != nil {
		client.Transport, client.Jar, client.Timeout = b.Client.Transport, b.Client.Jar, b.Client.Timeout
	}
	res, err := client.Do(req) //nolint:gosec // G704: a browser goes where it is told
	if err != nil {
		return "", nil, fmt.Errorf("oauthtest: %w", err)
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode >= 300 && res.StatusCode < 400 {
		u, err := res.Location()
		if err != nil {
			return "", nil, fmt.Errorf("oauthtest: redirect from %s: %w", req.URL.Path, err)
		}
		return u.String(), nil, nil
	}
	page, err = readDocument(res.Body)
	switch {
	case err != nil:
		return "", nil, fmt.Errorf("oauthtest: page %s: %w", req.URL.Path, err)
	case page.problem != "":
		return "", nil, fmt.Errorf("oauthtest: the provider says: %s", page.problem)
	case res.StatusCode != http.StatusOK || page.action == "":
		return "", nil, fmt.Errorf("oauthtest: page %s: status %d and no form", req.URL.Path, res.StatusCode)
	}
	return "", page, nil
}

// submit fills in a page's form.
func (b Browser) submit(ctx context.Context, at *url.URL, page *document) (*http.Request, error) {
	action, err := at.Parse(page.action)
	if err != nil {
		return nil, fmt.Errorf("oauthtest: form action: %w", err)
	}
	form := page.fields
	if form.Has("username") {
		if b.User != "" {
			form.Set("username", b.User)
		}
		form.Set("password", "any password")
	}
	for _, button := range page.buttons {
		if button.Value == "deny" == b.Deny {
			form.Set(button.Name, button.Value)
		}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, action.String(), strings.NewReader(form.Encode()))
	if err != nil {
		return nil, fmt.Errorf("oauthtest: %w", err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return req, nil
}

// document is what Browser understands of a page.
type document struct {
	action  string
	fields  url.Values
	buttons []button
	problem string
}

type button struct{ Name, Value string }

// readDocument reads HTML as tidy as our own pages are; encoding/xml suffices.
func readDocument(r io.Reader) (*document, error) {
	d := &document{fields: url.Values{}}
	dec := xml.NewDecoder(io.LimitReader(r, 1<<20))
	dec.Strict, dec.AutoClose, dec.Entity = false, xml.HTMLAutoClose, xml.HTMLEntity
	inProblem := false
	for {
		token, err := dec.Token()
		if errors.Is(err, io.EOF) {
			return d, nil
		}
		if err != nil {
			return nil, err
		}
		switch t := token.(type) {
		case xml.StartElement:
			attr := map[string]string{}
			for _, a := range t.Attr {
				attr[a.Name.Local] = a.Value
			}
			switch {
			case t.Name.Local == "form":
				d.action = attr["action"]
			case t.Name.Local == "input" && attr["name"] != "":
				d.fields.Set(attr["name"], attr["value"])
			case t.Name.Local == "button" && attr["name"] != "":
				d.buttons = append(d.buttons, button{attr["name"], attr["value"]})
			}
			inProblem = attr["role"] == "alert"
		case xml.CharData:
			if inProblem {
				d.problem += string(t)
			}
		case xml.EndElement:
			inProblem = false
		}
	}
}
