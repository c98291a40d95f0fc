package oauthtest

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Tenant is one customer's directory.
type Tenant struct {
	// ID stands in URLs and is what {entity_id} may be: letters, digits and "._-".
	ID string
	// Name is shown on pages; default ID.
	Name string
	// Domain makes user names unique: alice@Domain; default ID + ".example".
	Domain string
	Users  []User
}

// User is an account. A user name that nobody has becomes a new account when
// somebody signs in with it.
type User struct {
	Username string // without domain: "alice"
	Name     string // "Alice Archer"; default Username
	JobTitle string
}

var (
	tenantID = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$`)
	userName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)
)

// DefaultTenants are the tenants when Config.Tenants is empty: acme with eight
// users and globex with four. Both have an alice.
func DefaultTenants() []Tenant {
	return []Tenant{
		{ID: "acme", Name: "Acme", Users: []User{
			{"alice", "Alice Archer", "IT administrator"},
			{"bruno", "Bruno Bauer", "Accountant"},
			{"chiara", "Chiara Conti", "Designer"},
			{"dmitri", "Dmitri Danilov", "Engineer"},
			{"esther", "Esther Eze", "Head of sales"},
			{"farid", "Farid Farahani", "Engineer"},
			{"greta", "Greta Gustafsson", "Support"},
			{"hiro", "Hiro Hayashi", "Director"},
		}},
		{ID: "globex", Name: "Globex", Users: []User{
			{"alice", "Alice Abara", "Director"},
			{"ines", "Inês Infante", "Buyer"},
			{"jonas", "Jonas Jansen", "Engineer"},
			{"kamala", "Kamala Kumar", "Lawyer"},
		}},
	}
}

func (c *Config) completeTenants() error {
	if c.Tenants = slices.Clone(c.Tenants); len(c.Tenants) == 0 {
		c.Tenants = DefaultTenants()
	}
	seen := map[string]bool{"common": true, "organizations": true}
	for i := range c.Tenants {
		t := &c.Tenants[i]
		t.Name, t.Domain = cmp.Or(t.Name, t.ID), strings.ToLower(cmp.Or(t.Domain, t.ID+".example"))
		for _, name := range []string{t.ID, t.Domain} {
			if !tenantID.MatchString(name) || seen[strings.ToLower(name)] {
				return fmt.Errorf("oauthtest: Config.Tenants[%d]: %q is empty, reserved, used twice or has characters other than letters, digits and ._-", i, name)
			}
		}
		seen[strings.ToLower(t.ID)], seen[t.Domain] = true, true
		t.Users = slices.Clone(t.Users)
		names := map[string]bool{}
		for j := range t.Users {
			u := &t.Users[j]
			u.Username = strings.ToLower(u.Username)
			u.Name = cmp.Or(u.Name, u.Username)
			if !userName.MatchString(u.Username) || names[u.Username] {
				return fmt.Errorf("oauthtest: Config.Tenants[%d].Users[%d]: user name %q is empty, used twice or has characters other than letters, digits and ._-", i, j, u.Username)
			}
			names[u.Username] = true
		}
	}
	return nil
}

// tenant finds a tenant by its id, its domain or the GUID that tokens carry.
func (c *Config) tenant(name string) *Tenant {
	for i := range c.Tenants {
		t := &c.Tenants[i]
		if strings.EqualFold(name, t.ID) || strings.EqualFold(name, t.Domain) || strings.EqualFold(name, t.GUID()) {
			return t
		}
	}
	return nil
}

// GUID is the tenant's id in the form Microsoft's tokens have it (tid); URLs
// accept it too. It follows from ID, so it is the same everywhere.
func (t *Tenant) GUID() string { return guid("tenant", strings.ToLower(t.ID)) }

// guid derives a stable UUID from names.
func guid(names ...string) string {
	h := sha256.Sum256([]byte(strings.Join(names, "\x00")))
	h[6], h[8] = h[6]&0x0f|0x80, h[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", h[0:4], h[4:6], h[6:8], h[8:10], h[10:16])
}

// user returns a user by name, also one that exists only since it signed in.
func (t *Tenant) user(name string) User {
	for _, u := range t.Users {
		if u.Username == name {
			return u
		}
	}
	return User{Username: name, Name: name}
}

func (t *Tenant) has(name string) bool {
	return slices.ContainsFunc(t.Users, func(u User) bool { return u.Username == name })
}

// userID is a user's directory object id (oid); it follows from the names.
func (t *Tenant) userID(name string) string { return guid("user", strings.ToLower(t.ID), name) }

// principal is the user's name with the domain: alice@acme.example.
func (t *Tenant) principal(name string) string { return name + "@" + t.Domain }

// splitUser takes "alice@acme.example" apart; the domain may be missing.
func splitUser(user string) (name, domain string) {
	name, domain, _ = strings.Cut(strings.ToLower(strings.TrimSpace(user)), "@")
	return name, domain
}
