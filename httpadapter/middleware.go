package httpadapter

import (
	"errors"
	"net/http"

	"github.com/bifrost-go/bifrost/internal/scope"
)

// Middleware makes integrations.Get work in the host's own handlers: it puts the
// registry into the request's context, and as the scope the principal's Org; for
// an Admin without Org the global one. It asks the same Principal hook and refuses
// nobody: without a principal there is no scope, and Get says so. If the hook
// fails, the answer is 503.
//
// It reads nothing from the request but what the hook reads: ?org= is for
// Bifrost's own routes.
func (h *Handler) Middleware(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx := scope.WithRegistry(r.Context(), h.bf.Integrations)
		if h.cfg.Principal != nil {
			switch who, err := h.identify(r); {
			case errors.Is(err, ErrNoPrincipal):
			case err != nil:
				secure(w)
				h.fail(w, r, surfacePage, err)
				return
			case who.Org != "":
				ctx = h.bf.WithOrg(ctx, who.Org)
			case who.Role == Admin:
				ctx = h.bf.WithGlobal(ctx)
			}
		}
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}
