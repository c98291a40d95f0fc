package integrations

import (
	"time"

	"github.com/bifrost-go/bifrost/oauthflow"
	"github.com/bifrost-go/bifrost/tokenstore"
)

// Event is one change of a connection, told to Config.Events after it was stored.
// It holds no secret.
type Event struct {
	Kind        oauthflow.EventKind
	Integration string // the definition's name; empty if this process does not know it
	Definition  string // the definition's id
	Org         string // empty: the integration-level connection
	User        string // of connections chosen with User and Account; usually empty
	Account     string

	At     time.Time         // the store's clock
	Status tokenstore.Status // afterwards
	Reason string            // as a code
	Actor  string            // the host's user; empty for Bifrost itself
}

// listener translates events for Config.Events; nil if nobody listens.
func (r *Registry) listener() func(oauthflow.Event) {
	if r.cfg.Events == nil {
		return nil
	}
	return func(e oauthflow.Event) {
		told := Event{
			Kind: e.Kind, Definition: e.Key.Definition, Org: e.Key.Org, User: e.Key.User, Account: e.Key.Account,
			At: e.At, Status: e.Status, Reason: e.Reason, Actor: e.Actor,
		}
		if d := r.defs.Load().byID(e.Key.Definition); d != nil {
			told.Integration = d.Name
		}
		r.cfg.Events(told)
	}
}
