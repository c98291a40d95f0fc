package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"

	"github.com/bifrost-go/bifrost/oauthtest"
)

// Person is somebody with a browser, which keeps cookies.
type Person struct {
	provider *oauthtest.Provider
	client   *http.Client
}

// Person opens a browser for which app answers at [BaseURL], and signs in at the
// host: user is "alice@acme", and the host has /login ([Sessions.SignIn]).
func (d *Demo) Person(ctx context.Context, app http.Handler, user string) (*Person, error) {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return nil, err
	}
	p := &Person{d.Provider, &http.Client{
		Transport: host{app}, Jar: jar,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	res, err := p.send(ctx, http.MethodPost, BaseURL+"/login", url.Values{"user": {user}})
	if err != nil {
		return nil, err
	}
	if res.status >= http.StatusBadRequest {
		return nil, fmt.Errorf("sign-in: %d %s", res.status, res.body)
	}
	return p, nil
}

// Connect presses Connect, signs in at the provider as account
// ("alice@acme.example"), allows, and comes back. It returns where the browser
// ends up.
func (p *Person) Connect(ctx context.Context, integration, account string) (location string, err error) {
	res, err := p.send(ctx, http.MethodPost, BaseURL+"/oauth/connect/"+integration, url.Values{"return_to": {"/settings"}})
	if err != nil {
		return "", err
	}
	if res.location == "" {
		return "", fmt.Errorf("connect: %d %s", res.status, res.body)
	}
	back, err := p.provider.Authorize(ctx, res.location, account)
	if err != nil {
		return "", err
	}
	res, err = p.send(ctx, http.MethodGet, back, nil)
	if err != nil {
		return "", err
	}
	if res.location == "" {
		return "", fmt.Errorf("callback: %d %s", res.status, res.body)
	}
	return res.location, nil
}

// Get opens a page of the host.
func (p *Person) Get(ctx context.Context, path string) (status int, body string, err error) {
	res, err := p.send(ctx, http.MethodGet, BaseURL+path, nil)
	return res.status, strings.TrimSpace(res.body), err
}

// answer is a response, read.
type answer struct {
	status         int
	location, body string
}

func (p *Person) send(ctx context.Context, method, target string, form url.Values) (answer, error) {
	req, err := http.NewRequestWithContext(ctx, method, target, strings.NewReader(form.Encode()))
	if err != nil {
		return answer{}, err
	}
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	req.Header.Set("Accept", "text/html, application/json;q=0.9")
	res, err := p.client.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	return answer{res.StatusCode, res.Header.Get("Location"), string(body)}, err
}

// host is the transport of a browser on the machine that the application runs on:
// it needs no socket.
type host struct{ app http.Handler }

// RoundTrip implements http.RoundTripper.
func (h host) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Scheme+"://"+req.URL.Host != BaseURL {
		return nil, errors.New("demo: nobody answers at " + req.URL.Host)
	}
	in := httptest.NewRequestWithContext(req.Context(), req.Method, req.URL.String(), req.Body)
	in.Header = req.Header.Clone()
	w := httptest.NewRecorder()
	h.app.ServeHTTP(w, in)
	res := w.Result()
	res.Request = req
	return res, nil
}
