package httpadapter

import (
	"net/http"

	"github.com/bifrost-go/bifrost"
)

// HealthHandler answers 200 for as long as the process answers at all. Hosts that
// want it mount it, usually at /healthz.
func HealthHandler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answerHealth(w, r, nil)
	})
}

// ReadyHandler answers 200 while bf is started and its store is reachable and
// migrated, else 503. Hosts that want it mount it, usually at /readyz.
func ReadyHandler(bf *bifrost.Bifrost) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answerHealth(w, r, bf.Ready(r.Context()))
	})
}

// answerHealth says no more than ok or unavailable: probes are open to everybody.
func answerHealth(w http.ResponseWriter, r *http.Request, err error) {
	secure(w)
	p := &problem{Status: http.StatusServiceUnavailable, Type: "unavailable", Detail: "Not ready."}
	switch {
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		p = &problem{Status: http.StatusMethodNotAllowed, Type: "method-not-allowed", allow: read}
	case err == nil:
		_ = writeJSON(w, http.StatusOK, map[string]string{"status": "ok"})
		return
	}
	p.write(w)
}
