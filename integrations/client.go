package integrations

import (
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/bifrost-go/bifrost/oauthflow"
)

const (
	// renewalPause is how long 401s of an API trigger no renewal after one that
	// did not help: an API that refuses good tokens (missing permission, wrong
	// audience) must not burn a refresh per call.
	renewalPause = time.Minute
	// drainLimit is how much of a 401's body is read to keep the connection.
	drainLimit = 64 << 10
)

// apiTransport adds the token to API requests.
type apiTransport struct{ in *Integration }

// RoundTrip implements http.RoundTripper.
func (t *apiTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	def, base := t.in.slot.def, t.in.reg.cfg.APITransport
	if !def.allows(req.URL) {
		// Response is set on requests that follow a redirect: where an API sends
		// its clients elsewhere, they go, without the token.
		if req.Response != nil {
			return base.RoundTrip(t.bare(req))
		}
		closeBody(req)
		return nil, &Error{Integration: def.Name, Org: t.in.slot.org, Kind: ErrInvalid, Detail: fmt.Sprintf(
			"Client() sends the token to the definition's APIHosts %q over https only, and %s://%s is not among them; "+
				"add the host to the definition or use another client", def.APIHosts, req.URL.Scheme, req.URL.Host)}
	}
	snap, err := t.in.fresh(req.Context())
	if err != nil {
		closeBody(req)
		return nil, err
	}
	res, err := base.RoundTrip(t.with(req, snap))
	if err != nil || res.StatusCode != http.StatusUnauthorized {
		return res, err
	}
	return t.renewed(req, res, snap)
}

// renewed repeats a request that the API answered with 401, with a renewed
// token, or returns that answer where repeating is not possible.
func (t *apiTransport) renewed(req *http.Request, refused *http.Response, snap *oauthflow.Snapshot) (*http.Response, error) {
	sl := t.in.slot
	// Of the connection's own slot: the shared one serves many organizations.
	unhelpful := &t.in.reg.slot(sl.def, snap.Key().Org).unhelpful
	replayable := req.Body == nil || req.Body == http.NoBody || req.GetBody != nil
	if !replayable || time.Now().UnixNano() < unhelpful.Load() {
		return refused, nil
	}
	next, err := t.in.reg.flows.Renew(req.Context(), sl.def.target(snap.Key()), snap.Generation())
	if err != nil {
		_ = refused.Body.Close()
		return nil, t.in.reg.wrap(sl.def, sl.org, err)
	}
	t.in.tell(next)
	again := t.with(req, next)
	if req.GetBody != nil {
		if again.Body, err = req.GetBody(); err != nil {
			return refused, nil //nolint:nilerr // the 401 is the better answer than why it could not be repeated
		}
	}
	_, _ = io.CopyN(io.Discard, refused.Body, drainLimit)
	_ = refused.Body.Close()
	res, err := t.in.reg.cfg.APITransport.RoundTrip(again)
	if err == nil && res.StatusCode == http.StatusUnauthorized {
		unhelpful.Store(time.Now().Add(renewalPause).UnixNano())
	}
	return res, err
}

func (t *apiTransport) with(req *http.Request, snap *oauthflow.Snapshot) *http.Request {
	req = req.Clone(req.Context())
	header, token := t.in.slot.def.APIHeader, snap.AccessToken().Reveal()
	if http.CanonicalHeaderKey(header) == "Authorization" {
		// Whatever token_type says: Slack's "bot" and others' "user" are not schemes.
		token = "Bearer " + token
	}
	req.Header.Set(header, token)
	return req
}

func (t *apiTransport) bare(req *http.Request) *http.Request {
	req = req.Clone(req.Context())
	req.Header.Del(t.in.slot.def.APIHeader)
	return req
}

// closeBody honours RoundTripper's contract: the body is closed on errors too.
func closeBody(req *http.Request) {
	if req.Body != nil {
		_ = req.Body.Close()
	}
}
