package main

import (
	"crypto/sha256"
	"crypto/subtle"
	"net/http"

	"github.com/bifrost-go/bifrost/httpadapter"
)

// principal says who a request is. In a host of your own this is where your
// sign-in comes in. Here there is one person, who may do everything: whoever sits
// at this machine, or knows QUICKSTART_PASSWORD.
func (s *settings) principal(r *http.Request) (httpadapter.Principal, error) {
	if s.password != "" {
		_, given, _ := r.BasicAuth()
		a, b := sha256.Sum256([]byte(given)), sha256.Sum256([]byte(s.password))
		if subtle.ConstantTimeCompare(a[:], b[:]) != 1 {
			return httpadapter.Principal{}, httpadapter.ErrNoPrincipal
		}
	}
	return httpadapter.Principal{User: "admin", Role: httpadapter.Admin}, nil
}

func askPassword(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("WWW-Authenticate", `Basic realm="Bifrost quickstart", charset="UTF-8"`)
	http.Error(w, "The user is admin, the password is QUICKSTART_PASSWORD.", http.StatusUnauthorized)
}
