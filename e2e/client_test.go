package e2e_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"sync/atomic"
)

// client talks to a site as one person does: it knows BASE_URL only, and its
// requests reach the processes behind it in turn, as a load balancer deals them.
type client struct {
	site   *site
	person string   // who signs in at providers
	addrs  []string // of the processes
	http   *http.Client
	turn   atomic.Uint64
}

func newClient(apps ...*app) *client {
	c := &client{site: apps[0].site, person: "alice"}
	for _, a := range apps {
		c.addrs = append(c.addrs, a.addr)
	}
	return c.another()
}

// another is the same person with another browser.
func (c *client) another() *client {
	jar, _ := cookiejar.New(nil) // never fails without options
	c = &client{site: c.site, person: c.person, addrs: c.addrs}
	front := strings.TrimPrefix(c.site.base, "http://")
	var dialer net.Dialer
	c.http = &http.Client{Jar: jar, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			if addr == front {
				addr = c.addrs[c.turn.Add(1)%uint64(len(c.addrs))]
			}
			return dialer.DialContext(ctx, network, addr)
		},
	}}
	return c
}

// users is how many users a run returned.
func users(e *execution) int {
	var list []json.RawMessage
	_ = json.Unmarshal(e.Result, &list)
	return len(list)
}

// execution is a workflow run as the API shows it.
type execution struct {
	ID       string          `json:"id"`
	Workflow string          `json:"workflow"`
	Status   string          `json:"status"`
	Result   json.RawMessage `json:"result"`
	Attempt  int             `json:"attempt"`
	Error    *struct {
		Code    string `json:"code"`
		Message string `json:"message"`
	} `json:"error"`
}

// ended reports whether the run's outcome is final.
func (e *execution) ended() bool {
	switch e.Status {
	case "succeeded", "failed", "timed_out", "cancelled":
		return true
	}
	return false
}

func (e *execution) String() string {
	said := ""
	if e.Error != nil {
		said = fmt.Sprintf(" (%s: %s)", e.Error.Code, e.Error.Message)
	}
	return fmt.Sprintf("execution %s, attempt %d: %s%s", e.ID, e.Attempt, e.Status, said)
}

// status is an integration as the API shows it.
type status struct {
	ID            string `json:"id"`
	Name          string `json:"name"`
	Description   string `json:"description"`
	Org           string `json:"org"`
	Source        string `json:"source"`
	RedirectURI   string `json:"redirect_uri"`
	Status        string `json:"status"`
	Connection    string `json:"connection"`
	EntityID      string `json:"entity_id"`
	Revocation    string `json:"revocation"`
	StatusMessage string `json:"status_message"`
	LastError     *struct {
		Code    string `json:"code"`
		Message string `json:"message"`
	} `json:"last_error"`
	ExpiresAt string `json:"expires_at"`
	Account   struct {
		ID   string `json:"id"`
		Name string `json:"name"`
	} `json:"account"`
	Scopes struct {
		Granted []string `json:"granted"`
	} `json:"scopes"`
}

// problem is an error as the API tells it (RFC 9457).
type problem struct {
	request string
	Status  int    `json:"status"`
	Type    string `json:"type"`
	Detail  string `json:"detail"`
	Errors  []struct {
		Field   string `json:"field"`
		Message string `json:"message"`
	} `json:"errors"`
}

func (p *problem) Error() string {
	said := fmt.Sprintf("%s: %d %s: %s", p.request, p.Status, p.Type, p.Detail)
	for _, e := range p.Errors {
		said += fmt.Sprintf("; %s %s", e.Field, e.Message)
	}
	return said
}

// statusOf is the HTTP status of a call that failed; 0: it was not answered.
func statusOf(err error) int {
	var p *problem
	if errors.As(err, &p) {
		return p.Status
	}
	return 0
}

// fields are the names of the fields that were wrong.
func (p *problem) fields() []string {
	var names []string
	for _, e := range p.Errors {
		names = append(names, e.Field)
	}
	return names
}

// call sends one JSON request; in and out may be nil. An answer of 400 or more is
// an error with a *problem in it.
func (c *client) call(ctx context.Context, method, path string, in, out any) (int, error) {
	var body io.Reader
	if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			return 0, err
		}
		body = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.site.base+path, body)
	if err != nil {
		return 0, err
	}
	req.Header.Set("Accept", "application/json")
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := c.http.Do(req)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return 0, err
	}
	if res.StatusCode >= 400 {
		p := &problem{request: method + " " + path, Detail: string(text)}
		if strings.HasPrefix(res.Header.Get("Content-Type"), "application/problem+json") {
			err = json.Unmarshal(text, p)
		}
		p.Status = res.StatusCode
		return res.StatusCode, errors.Join(p, err)
	}
	if out == nil {
		return res.StatusCode, nil
	}
	if err := json.Unmarshal(text, out); err != nil {
		return res.StatusCode, fmt.Errorf("%s %s: %w: %s", method, path, err, text)
	}
	return res.StatusCode, nil
}

// status reads the integration's state.
func (c *client) status(ctx context.Context) (status, error) {
	var s status
	_, err := c.call(ctx, http.MethodGet, "/api/integrations/"+integration, nil, &s)
	return s, err
}

// execute runs list_users; async returns as soon as it is stored.
func (c *client) execute(ctx context.Context, async bool) (*execution, error) {
	var e execution
	_, err := c.call(ctx, http.MethodPost, "/api/workflows/"+workflow+"/execute",
		map[string]any{"input": map[string]any{}, "async": async}, &e)
	return &e, err
}

// execution reads one run.
func (c *client) execution(ctx context.Context, id string) (*execution, error) {
	var e execution
	_, err := c.call(ctx, http.MethodGet, "/api/executions/"+url.PathEscape(id), nil, &e)
	return &e, err
}

// open is how many runs have no final outcome yet.
func (c *client) open(ctx context.Context) (int, error) {
	n := 0
	for _, status := range []string{"scheduled", "pending", "running", "cancelling"} {
		var page struct {
			Items []execution `json:"items"`
		}
		if _, err := c.call(ctx, http.MethodGet, "/api/executions?limit=100&status="+status, nil, &page); err != nil {
			return 0, err
		}
		n += len(page.Items)
	}
	return n, nil
}
