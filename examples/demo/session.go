package demo

import (
	"crypto/rand"
	"net/http"
	"strings"
	"sync"
)

// User is one of the host's users.
type User struct{ ID, Org string }

// Sessions stands for the host's own sign-in. The real one asks for a password.
type Sessions struct {
	mu    sync.Mutex
	users map[string]User // by cookie
}

// SignIn takes a form with user=alice@acme, and remembers the browser by a cookie.
func (s *Sessions) SignIn(w http.ResponseWriter, r *http.Request) {
	id, org, _ := strings.Cut(r.FormValue("user"), "@")
	key := rand.Text()
	s.mu.Lock()
	if s.users == nil {
		s.users = map[string]User{}
	}
	s.users[key] = User{id, org}
	s.mu.Unlock()
	// Lax, not Strict: the cookie must come along when the provider sends the
	// browser back.
	http.SetCookie(w, &http.Cookie{Name: "session", Value: key, Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode})
	w.WriteHeader(http.StatusNoContent)
}

// User returns who is signed in.
func (s *Sessions) User(r *http.Request) (user User, ok bool) {
	cookie, err := r.Cookie("session")
	if err != nil {
		return User{}, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	user, ok = s.users[cookie.Value]
	return user, ok
}
