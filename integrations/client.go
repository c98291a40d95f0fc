package integrations

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/bifrost-go/bifrost/oauthflow"
	"github.com/bifrost-go/bifrost/tokenstore"
)

const (
	// renewalPause is how long 401s of an API trigger no renewal after one that
	// did not help: an API that refuses good tokens (missing permission, wrong
	// audience) must not burn a refresh per call.
	renewalPause = time.Minute
	// renewalWait is how long a 401 that is returned as it is waits for the renewal
	// it has triggered. What was sent by then is read and stored all the same.
	renewalWait = 5 * time.Second
	// drainLimit is how much of a 401's body is read to keep the connection.
	drainLimit = 64 << 10
)

// apiTransport adds the token to API requests.
type apiTransport struct{ in *Integration }

// RoundTrip implements http.RoundTripper.
func (t *apiTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	in, err := t.in.now(req.Context())
	if err != nil {
		closeBody(req)
		return nil, err
	}
	def, base := in.bound.def, in.transport()
	if !def.allows(req.URL) {
		// Response is set on requests that follow a redirect: where an API sends
		// its clients elsewhere, they go, without the token.
		if req.Response != nil {
			return base.RoundTrip(in.bare(req))
		}
		closeBody(req)
		return nil, &Error{Integration: def.Name, Org: in.org(), Kind: ErrInvalid, Detail: fmt.Sprintf(
			"Client() sends the token to the definition's APIHosts %q over https only, and %s://%s is not among them; "+
				"add the host to the definition or use another client", def.APIHosts, req.URL.Scheme, req.URL.Host)}
	}
	sent := time.Now()
	res, err := base.RoundTrip(in.authorize(req, in.snap))
	if err != nil || res.StatusCode != http.StatusUnauthorized {
		return res, err
	}
	return in.again(req, res, sent)
}

// transport is what carries requests to the API.
func (i *Integration) transport() http.RoundTripper {
	if i.bound.def.restricted {
		return i.reg.out.api
	}
	return i.reg.out.open
}

// restKey is one access token's place: a connection, and what the token is for.
type restKey struct {
	tokenstore.Key
	access oauthflow.Access
}

// rest is until when (Unix nanoseconds) an API's 401 triggers no renewal. It belongs
// to the connection: the shared one serves many organizations.
type rest struct {
	unhelpful atomic.Int64 // the last renewal did not satisfy that API
	blind     atomic.Int64 // for requests that are not repeated: nobody saw if it did
}

func (r *Registry) rest(t oauthflow.Target) *rest {
	k := restKey{t.Key, t.Access}
	if rest := r.rests.Load(k); rest != nil {
		return rest
	}
	return r.rests.LoadOrStore(k, new(rest))
}

// again repeats a request that the API answered with 401, with a renewed token, or
// returns that answer where repeating is not possible; the next request has the new
// token then. sent is when it was sent.
func (i *Integration) again(req *http.Request, refused *http.Response, sent time.Time) (*http.Response, error) {
	src := i.bound.sourceOf(i.snap)
	rest := i.reg.rest(src.target)
	if time.Now().UnixNano() < rest.unhelpful.Load() {
		return refused, nil
	}
	if req.Body != nil && req.Body != http.NoBody && req.GetBody == nil {
		i.renewBlind(req.Context(), src.target, &rest.blind)
		return refused, nil
	}
	next, err := i.reg.flows.Renew(req.Context(), src.target, i.snap.Generation())
	if err != nil {
		_ = refused.Body.Close()
		return nil, i.reg.wrap(i.bound.def, i.bound.slot.choice, err)
	}
	i.tell(next)
	repeated := i.authorize(req, next)
	if req.GetBody != nil {
		if repeated.Body, err = req.GetBody(); err != nil {
			return refused, nil //nolint:nilerr // the 401 is the better answer than why it could not be repeated
		}
	}
	_, _ = io.CopyN(io.Discard, refused.Body, drainLimit)
	_ = refused.Body.Close()
	res, err := i.transport().RoundTrip(repeated)
	// A token that somebody else had renewed before may have ended with the first.
	if err == nil && res.StatusCode == http.StatusUnauthorized && !next.ObtainedAt().Before(sent) {
		rest.unhelpful.Store(time.Now().Add(renewalPause).UnixNano())
	}
	return res, err
}

// renewBlind renews the token for the requests to come, because this one cannot be
// repeated: without it a client that only streams would be refused for ever where
// nobody knows a token's lifetime. Its failure is not told; the 401 is the answer.
func (i *Integration) renewBlind(ctx context.Context, t oauthflow.Target, pause *atomic.Int64) {
	if time.Now().UnixNano() < pause.Load() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, renewalWait)
	defer cancel()
	if next, err := i.reg.flows.Renew(ctx, t, i.snap.Generation()); err == nil {
		i.tell(next)
		pause.Store(time.Now().Add(renewalPause).UnixNano())
	}
}

// authorize returns req with a token.
func (i *Integration) authorize(req *http.Request, snap *oauthflow.Snapshot) *http.Request {
	req = req.Clone(req.Context())
	header, token := i.bound.def.APIHeader, snap.AccessToken().Reveal()
	if http.CanonicalHeaderKey(header) == "Authorization" {
		// Whatever token_type says: Slack's "bot" and others' "user" are not schemes.
		token = "Bearer " + token
	}
	req.Header.Set(header, token)
	return req
}

func (i *Integration) bare(req *http.Request) *http.Request {
	req = req.Clone(req.Context())
	req.Header.Del(i.bound.def.APIHeader)
	return req
}

// closeBody honours RoundTripper's contract: the body is closed on errors too.
func closeBody(req *http.Request) {
	if req.Body != nil {
		_ = req.Body.Close()
	}
}
