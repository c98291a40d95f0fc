package oauthflow

import (
	"context"
	"errors"
	"net/url"

	"github.com/bifrost-go/bifrost/tokenstore"
)

// Tracer is told of every request to a provider's token or revocation endpoint,
// before it is made and when it has ended. The context that TraceRequestStart
// returns goes with the request, to the transport too, and to TraceRequestEnd; it
// begins anew, because a refresh belongs to none of its callers. It is called by
// many goroutines at once, and should be quick. A Tracer may also be a [PassTracer].
type Tracer interface {
	TraceRequestStart(ctx context.Context, data RequestStart) context.Context
	TraceRequestEnd(ctx context.Context, data RequestEnd)
}

// PassTracer is a [Tracer] that is told also of each look of [Manager.KeepFresh] at
// what is due.
type PassTracer interface {
	TracePassStart(ctx context.Context, data PassStart) context.Context
	TracePassEnd(ctx context.Context, data PassEnd)
}

// RequestKind is what a request is for.
type RequestKind string

// The kinds of requests.
const (
	RequestExchange   RequestKind = "authorization_code"
	RequestRefresh    RequestKind = "refresh_token"
	RequestMint       RequestKind = "client_credentials"
	RequestRevocation RequestKind = "revocation"
)

// RequestStart is a request that is about to be made.
type RequestStart struct {
	Kind        RequestKind
	Key         tokenstore.Key
	Integration string // its name
	// Host is where the request goes, with the port if the URL has one. In the
	// definitions of some providers it names the tenant.
	Host       string
	Background bool // nobody waits for it
}

// RequestEnd is how a request has ended. It holds no secret.
type RequestEnd struct {
	Err    error  // nil: it brought what was asked for; else a *[TokenError] mostly
	Class  Class  // what Err means; empty without one
	Code   string // the provider's error code, if it gave one
	Status int    // of the reply; 0 if there was none, or all went well
	Sent   bool   // any of it may have left
}

// PassStart is a look at what is due.
type PassStart struct{}

// PassEnd is what a look has found.
type PassEnd struct {
	Due   int // connections that were due, at most as many as were asked for
	Taken int // of them, those taken up: the others were already, or rest
	Err   error
}

// request makes one request that t is about, counts it and tells the tracer.
func (m *Manager) request(ctx context.Context, t Target, kind RequestKind, background bool, do func(context.Context) error) {
	tracer := m.cfg.Tracer
	if tracer != nil {
		start := RequestStart{Kind: kind, Key: t.Key, Integration: t.Name, Host: t.host(kind), Background: background}
		ctx = m.begun(ctx, func() context.Context { return tracer.TraceRequestStart(ctx, start) })
	}
	m.counters.requests.Add(1)
	err := do(ctx)
	if err != nil && !errors.Is(err, ErrNoRevocation) {
		m.counters.failed.Add(1)
	}
	if tracer != nil {
		m.guard("Config.Tracer", func() { tracer.TraceRequestEnd(ctx, requestEnd(err)) })
	}
}

func requestEnd(err error) RequestEnd {
	end := RequestEnd{Err: err, Sent: true}
	var te *TokenError
	if errors.As(err, &te) {
		end.Class, end.Code, end.Status, end.Sent = te.Class, te.Code, te.Status, te.Sent
	}
	return end
}

// host is where t's requests of a kind go.
func (t Target) host(kind RequestKind) string {
	field := "TokenURL"
	switch kind {
	case RequestRefresh:
		field = t.Client.refreshField()
	case RequestRevocation:
		field = "RevocationURL"
	}
	endpoint, err := t.Client.endpoint(field, withEntity(t.EntityID, t.Values))
	if err != nil {
		return ""
	}
	u, err := url.Parse(endpoint)
	if err != nil {
		return ""
	}
	return u.Host
}

// ask makes a token request for t.
func (m *Manager) ask(ctx context.Context, t Target, kind RequestKind, background bool, r TokenRequest) (reply *Reply, err error) {
	m.request(ctx, t, kind, background, func(ctx context.Context) error {
		reply, err = m.requester.Do(ctx, r)
		return err
	})
	return reply, err
}

// tracePass is told of one look at what is due; end is called when it is over.
func (m *Manager) tracePass(ctx context.Context) (_ context.Context, end func(PassEnd)) {
	tracer, ok := m.cfg.Tracer.(PassTracer)
	if !ok {
		return ctx, func(PassEnd) {}
	}
	traced := m.begun(ctx, func() context.Context { return tracer.TracePassStart(ctx, PassStart{}) })
	return traced, func(data PassEnd) { m.guard("Config.Tracer", func() { tracer.TracePassEnd(traced, data) }) }
}

// begun returns the context that a tracer's start returns, or ctx if it has none.
func (m *Manager) begun(ctx context.Context, start func() context.Context) context.Context {
	list := []context.Context{ctx}
	m.guard("Config.Tracer", func() { list = append(list, start()) })
	if last := list[len(list)-1]; last != nil {
		return last
	}
	return ctx
}
