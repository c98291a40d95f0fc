package integrations

import (
	"context"
	"net/http"
	"time"
)

const testTimeout = 15 * time.Second

// TestResult is what came of a test. The body of the API's answer is not read:
// whoever may test a connection must not see by that what it can reach.
type TestResult struct {
	OK         bool          // the API answered with 2xx
	HTTPStatus int           // of its answer; 0 if none came
	Duration   time.Duration // until the answer's header
}

// Test reads the definition's TestURL with the token of the scope's own
// connection, and follows no redirect. Errors say why there is no token to test
// with; ErrBusy after five tests of a connection within a minute.
func (r *Registry) Test(ctx context.Context, name string, opts ...Option) (TestResult, error) {
	d, c, t, err := r.own(ctx, name, opts)
	if err != nil {
		return TestResult{}, err
	}
	if d.TestURL == "" {
		return TestResult{}, &Error{Integration: d.Name, Org: c.scope.Org, Kind: ErrInvalid, Detail: "the definition has no test_url"}
	}
	if wait := r.tests.take(restKey{t.Key, t.Access}, time.Now()); wait > 0 {
		return TestResult{}, &Error{Integration: d.Name, Org: c.scope.Org, Kind: ErrBusy, RetryAfter: wait,
			Detail: "a connection can be tested five times a minute"}
	}
	in, err := r.get(ctx, d.Name, &c)
	switch {
	case err != nil:
		return TestResult{}, err
	case in.bound.def.id != d.id: // another of the name has come meanwhile
		return TestResult{}, &Error{Integration: d.Name, Org: c.scope.Org, Kind: ErrConflict}
	}
	limited, cancel := context.WithTimeout(ctx, testTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(limited, http.MethodGet, d.TestURL, nil)
	if err != nil { // its text repeats the URL
		return TestResult{}, &Error{Integration: d.Name, Org: c.scope.Org, Kind: ErrInvalid, Detail: "test_url is not a URL"}
	}
	client := in.Client()
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	begun := time.Now()
	res, err := client.Do(req)
	result := TestResult{Duration: time.Since(begun)}
	switch {
	case err != nil && ctx.Err() != nil: // nobody knows what would have come
		return TestResult{}, ctx.Err()
	case err != nil:
		r.cfg.Logger.InfoContext(ctx, "integrations: a connection's test got no answer", "integration", d.Name, "org", c.scope.Org, "error", err)
		return result, nil
	}
	_ = res.Body.Close()
	result.HTTPStatus = res.StatusCode
	result.OK = res.StatusCode >= 200 && res.StatusCode <= 299
	return result, nil
}
