package httpadapter

import (
	"errors"
	"net/http"
)

// ErrNoPrincipal is what a Config.Principal hook returns for a request that
// nobody is signed in for.
var ErrNoPrincipal = errors.New("httpadapter: no principal")

// Principal is who a request is, as the host's own sign-in says.
type Principal struct {
	// User is the host's id of the user. A flow must be finished by the user who
	// began it, the history names them, and ?user= must be it, unless they are an Admin.
	User string
	// Org is the user's organization, [A-Za-z0-9._~-]{1,128}. Members need one. For
	// an Admin it only matters to [Handler.Middleware]: Bifrost's own routes are
	// about what ?org= names, and without it about the global connections.
	Org string
	// Role is what the user may do; the zero value may do nothing.
	Role Role
}

// Role is what a principal may do.
type Role uint8

const (
	// NoRole may do nothing: every management route answers 403.
	NoRole Role = iota
	// Member manages the connections of their own organization and those they made
	// for themselves, and executes workflows registered with workflow.AllowMembers.
	Member
	// Admin runs the platform: every organization's connections, named with ?org=,
	// and the global ones otherwise, and definitions, mappings and configuration. An
	// administrator of one organization is a Member here.
	Admin
)

// String returns "none", "member" or "admin".
func (r Role) String() string {
	switch r {
	case Member:
		return "member"
	case Admin:
		return "admin"
	default:
		return "none"
	}
}

// identify asks the host who the request is. It returns ErrNoPrincipal when
// nobody is signed in, else a *problem.
func (h *Handler) identify(r *http.Request) (Principal, error) {
	if h.cfg.Principal == nil {
		return Principal{}, errClosed
	}
	p, err := h.cfg.Principal(r)
	switch {
	case errors.Is(err, ErrNoPrincipal):
		return Principal{}, ErrNoPrincipal
	case err != nil:
		return Principal{}, &problem{
			Status: http.StatusServiceUnavailable, Type: "unavailable",
			Detail: "It cannot be found out at the moment who you are. Try again.", cause: err,
		}
	case p.User == "", p.Role == Member && p.Org == "":
		return Principal{}, ErrNoPrincipal
	}
	return p, nil
}

var (
	errClosed = &problem{
		Status: http.StatusUnauthorized, Type: "unauthenticated",
		Detail: "This server has not been told who its users are (httpadapter.Config.Principal), so this is closed.",
	}
	errUnauthenticated = &problem{
		Status: http.StatusUnauthorized, Type: "unauthenticated",
		Detail: "This is for people who are signed in. Sign in, then open it again.",
	}
	errForbidden = &problem{
		Status: http.StatusForbidden, Type: "forbidden",
		Detail: "You are signed in, but your role does not allow this.",
	}
)
