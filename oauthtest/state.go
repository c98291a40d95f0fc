package oauthtest

import (
	"cmp"
	"crypto/rand"
	"slices"
	"strconv"
	"time"
)

// Family is one grant: a user's consent and the refresh tokens that descend from
// it, or what an application may do as itself (client credentials).
type Family struct {
	ID     string
	Client string
	Tenant string // Tenant.ID
	User   string // user name without domain; empty for client credentials
	Scopes []string
	// Refreshable: offline_access was granted.
	Refreshable bool
	// Current is the number of the newest refresh token (the first is 1), Previous
	// of the one it was issued for. 0: none.
	Current  int
	Previous int
	// Rotated is when Previous was used first.
	Rotated time.Time
	Created time.Time
	Used    time.Time // the last time tokens were issued
	// Revoked says why the family is dead: "reuse", "code_reuse", "password_changed",
	// "client" (RFC 7009); empty while it lives.
	Revoked string
}

// state is everything that has to survive kill -9. Tokens are not in it: they
// are sealed texts (seal.go) that name a family, so it does not grow with use.
type state struct {
	Version  int
	Key      []byte // seals tokens and forms
	Epoch    int    // access tokens of an older epoch count as expired
	Serial   int    // the last family's id
	Accounts map[string][]string
	Families map[string]*Family
	Codes    map[string]*code     // by SHA-256
	Revoked  map[string]time.Time // access tokens revoked one by one: SHA-256 → expiry
}

// code is an issued authorization code. It is kept for a while after its use, so
// that a replay can be told from nonsense.
type code struct {
	Client      string
	RedirectURI string
	Challenge   string
	Nonce       string
	Tenant      string
	User        string
	Scopes      []string
	Expires     time.Time
	Family      string // what it was redeemed for; empty: not yet
}

const (
	stateVersion = 1
	// codeMemory is how long a code is remembered after it expired.
	codeMemory = time.Hour
	// deadFamilies is how many revoked families are kept for inspection.
	deadFamilies = 500
)

func newState() state {
	s := state{Version: stateVersion, Key: make([]byte, 32)}
	_, _ = rand.Read(s.Key) // never fails: crypto/rand
	s.complete()
	return s
}

// complete makes the maps that JSON left nil.
func (s *state) complete() {
	if s.Accounts == nil {
		s.Accounts = map[string][]string{}
	}
	if s.Families == nil {
		s.Families = map[string]*Family{}
	}
	if s.Codes == nil {
		s.Codes = map[string]*code{}
	}
	if s.Revoked == nil {
		s.Revoked = map[string]time.Time{}
	}
}

// prune forgets what nobody can ask about any more.
func (s *state) prune(c *Config, now time.Time) {
	for hash, code := range s.Codes {
		if now.After(code.Expires.Add(codeMemory)) {
			delete(s.Codes, hash)
		}
	}
	for hash, expires := range s.Revoked {
		if now.After(expires) {
			delete(s.Revoked, hash)
		}
	}
	var dead []*Family
	for id, f := range s.Families {
		life := c.AccessLifetime
		if f.Refreshable {
			life += c.RefreshLifetime
		}
		switch {
		case now.After(f.Used.Add(life)):
			delete(s.Families, id)
		case f.Revoked != "":
			dead = append(dead, f)
		}
	}
	if len(dead) > deadFamilies {
		slices.SortFunc(dead, func(a, b *Family) int { return cmp.Compare(a.number(), b.number()) })
		for _, f := range dead[:len(dead)-deadFamilies] {
			delete(s.Families, f.ID)
		}
	}
}

func (f *Family) number() int {
	n, _ := strconv.Atoi(f.ID)
	return n
}

// change runs f under the lock and, if f says that something changed, saves the
// state before returning: a reply may depend on it. If saving fails, nothing has
// changed.
func (p *Provider) change(f func(s *state, now time.Time) (changed bool)) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.config.Now()
	if !f(&p.state, now) {
		return nil
	}
	p.state.prune(&p.config, now)
	if p.config.StateFile == "" {
		return nil
	}
	return p.save()
}

// Families returns all grants that are still known, oldest first.
func (p *Provider) Families() []Family {
	p.mu.Lock()
	defer p.mu.Unlock()
	families := make([]Family, 0, len(p.state.Families))
	for _, f := range p.state.Families {
		g := *f
		g.Scopes = slices.Clone(f.Scopes)
		families = append(families, g)
	}
	slices.SortFunc(families, func(a, b Family) int { return cmp.Compare(a.number(), b.number()) })
	return families
}

// Revoke kills every grant of a user, as a changed password does: refreshes are
// answered invalid_grant, API calls 401. The user is "alice", in every tenant, or
// "alice@acme.example". It returns how many grants died.
func (p *Provider) Revoke(user string) (int, error) {
	name, domain := splitUser(user)
	n := 0
	err := p.change(func(s *state, _ time.Time) bool {
		for _, f := range s.Families {
			t := p.config.tenant(f.Tenant)
			if f.Revoked == "" && f.User != "" && f.User == name && (domain == "" || (t != nil && t.Domain == domain)) {
				f.Revoked = "password_changed"
				n++
			}
		}
		return n > 0
	})
	return n, err
}

// ExpireAll makes every access token issued so far count as expired. Refresh
// tokens stay what they are.
func (p *Provider) ExpireAll() error {
	return p.change(func(s *state, _ time.Time) bool {
		s.Epoch++
		return true
	})
}
