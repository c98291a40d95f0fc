package bifrost_test

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"

	"github.com/bifrost-go/bifrost/integrations"
	"github.com/bifrost-go/bifrost/tokenstore"
	"github.com/bifrost-go/bifrost/workflow"
)

// round is what a child does over and over: an organization comes, gets a global
// and an own definition with all that can hang on them, and goes again.
type round struct {
	*site
	org, graph string
	in         integrations.Option
}

func newRound(s *site, number int) round {
	org := fmt.Sprint("org-", number)
	return round{s, org, fmt.Sprint("Graph-", number), integrations.Org(org)}
}

// facts are what is there in a round, one line each.
type facts map[string]bool

// deed is one call. It happens as a whole or not at all.
type deed struct {
	do func(t *testing.T, r round) error
	// then is what it makes of the facts.
	then func(r round, f facts)
}

// adds is a deed that adds one fact.
func adds(fact func(r round) string, do func(t *testing.T, r round) error) deed {
	return deed{do, func(r round, f facts) { f[fact(r)] = true }}
}

func creates(name func(r round) (name, org string)) deed {
	return adds(func(r round) string {
		name, org := name(r)
		return definitionFact(name, org, "version 1")
	}, func(t *testing.T, r round) error {
		name, org := name(r)
		_, err := r.Integrations.Create(t.Context(), described(name, org, 1), admin)
		return err
	})
}

func imports(key func(r round) (name, org, user string)) deed {
	return adds(func(r round) string {
		name, org, user := key(r)
		return connectionFact(name, org, user, "at of "+org+user)
	}, func(t *testing.T, r round) error {
		name, org, user := key(r)
		opts := []integrations.Option{integrations.Org(org)}
		if user != "" {
			opts = append(opts, integrations.User(user))
		}
		token := &oauth2.Token{AccessToken: "at of " + org + user, RefreshToken: "rt", Expiry: time.Now().Add(time.Hour)}
		_, err := r.Integrations.Import(t.Context(), name, token, integrations.ImportOptions{Actor: admin}, opts...)
		return err
	})
}

func mapped(org func(r round) string) deed {
	return adds(func(r round) string { return mappingFact(r.graph, org(r), "acme") },
		func(t *testing.T, r round) error { return r.mapTo(t.Context(), r.graph, org(r), "acme") })
}

func configures(org func(r round) string) deed {
	return adds(func(r round) string { return configFact(r.graph, org(r), "here", true) },
		func(t *testing.T, r round) error {
			_, err := r.Integrations.SetConfig(t.Context(), r.graph, map[string]any{"api_key": "key", "region": "here"}, admin, integrations.Org(org(r)))
			return err
		})
}

func definitionFact(name, org, description string) string {
	return fmt.Sprintf("definition %s of %q: %s", name, org, description)
}

func connectionFact(name, org, user, token string) string {
	return fmt.Sprintf("connection %s of %q %q: %s", name, org, user, token)
}

func mappingFact(name, org, entity string) string {
	return fmt.Sprintf("mapping %s of %q: %s", name, org, entity)
}

func configFact(name, org, region string, secret bool) string {
	return fmt.Sprintf("config %s of %q: %s, secret: %t", name, org, region, secret)
}

func (r round) itself() string  { return r.org }
func (round) neighbour() string { return stayer }

var deeds = []deed{
	creates(func(r round) (string, string) { return r.graph, "" }),
	creates(func(r round) (string, string) { return "Own", r.org }),
	configures(round.itself),
	configures(round.neighbour),
	mapped(round.itself),
	mapped(round.neighbour),
	imports(func(r round) (string, string, string) { return r.graph, r.org, "" }),
	imports(func(r round) (string, string, string) { return r.graph, r.org, "bruno" }),
	imports(func(r round) (string, string, string) { return r.graph, stayer, "" }),
	imports(func(r round) (string, string, string) { return "Own", r.org, "" }),
	adds(func(r round) string { return fmt.Sprintf("flow of %q", r.org) }, func(t *testing.T, r round) error {
		_, err := r.Integrations.Connect(t.Context(), r.graph, integrations.ConnectOptions{Principal: r.org}, r.in, integrations.Account("open"))
		return err
	}),
	adds(func(r round) string { return fmt.Sprintf("execution of %q", r.org) }, func(t *testing.T, r round) error {
		_, err := r.Workflows.Execute(t.Context(), "job", workflow.ExecuteRequest{Scope: workflow.Org(r.org)})
		return err
	}),
	{func(t *testing.T, r round) error {
		_, err := r.Integrations.Update(t.Context(), r.graph, admin, update, integrations.Global())
		return err
	}, func(r round, f facts) {
		delete(f, definitionFact(r.graph, "", "version 1"))
		f[definitionFact(r.graph, "", "version 2")] = true
	}},
	{func(t *testing.T, r round) error {
		_, err := r.DeleteOrg(t.Context(), r.org, admin)
		return err
	}, func(r round, f facts) { f.without(fmt.Sprintf("of %q", r.org)) }},
	{func(t *testing.T, r round) error {
		_, err := r.Integrations.Delete(t.Context(), r.graph, admin, integrations.Global())
		return err
	}, func(r round, f facts) { f.without(" " + r.graph + " ") }},
}

func (f facts) without(part string) {
	maps.DeleteFunc(f, func(fact string, _ bool) bool { return strings.Contains(fact, part) })
}

// after is what is there after so many deeds of a round.
func (r round) after(done int) []string {
	f := facts{}
	for _, d := range deeds[:done] {
		d.then(r, f)
	}
	return slices.Sorted(maps.Keys(f))
}

// found is what is there in fact.
func (r round) found(t *testing.T, all map[string][]row) []string {
	t.Helper()
	ctx, f := t.Context(), facts{}
	for name, scope := range map[string]integrations.Option{r.graph: integrations.Global(), "Own": r.in} {
		d, err := r.Integrations.Definition(ctx, name, scope)
		if errors.Is(err, integrations.ErrNotFound) {
			continue
		}
		require.NoError(t, err)
		f[definitionFact(d.Name, d.Org, d.Description)] = true
		for m, err := range r.Integrations.Mappings(ctx, name, "", scope) {
			require.NoError(t, err)
			f[mappingFact(name, m.Org, m.EntityID)] = true
		}
		orgs := []string{r.org}
		if d.Org == "" {
			orgs = append(orgs, stayer)
		}
		for _, org := range orgs {
			values, err := r.Integrations.Config(ctx, name, integrations.Org(org))
			require.NoError(t, err)
			if values[0].Set {
				f[configFact(name, org, fmt.Sprint(values[1].Value), true)] = true
			}
		}
		for st, err := range r.Integrations.Connections(ctx, name, nil, scope) {
			require.NoError(t, err)
			if st.Status == tokenstore.NotConnected {
				continue
			}
			opts := []integrations.Option{integrations.Org(st.Key.Org)}
			if st.Key.User != "" {
				opts = append(opts, integrations.User(st.Key.User))
			}
			in, err := r.Integrations.Get(ctx, name, opts...)
			require.NoError(t, err)
			f[connectionFact(name, st.Key.Org, st.Key.User, in.OAuth().AccessToken())] = true
		}
	}
	for _, flow := range all["bifrost_flows"] {
		if flow["org"] == r.org {
			f[fmt.Sprintf("flow of %q", r.org)] = true
		}
	}
	for _, execution := range all["bifrost_executions"] {
		if execution["org"] == r.org {
			f[fmt.Sprintf("execution of %q", r.org)] = true
		}
	}
	return slices.Sorted(maps.Keys(f))
}

// playRounds is a child that plays rounds until it is killed, and tells of each
// deed once it is done.
func playRounds(t *testing.T, cfg registryConfig) {
	s := openSite(t, cfg.Dir, cfg.Keys, nil)
	require.NoError(t, s.Start(t.Context()))
	for number := cfg.First; ; number++ {
		r := newRound(s, number)
		for i, d := range deeds {
			require.NoError(t, d.do(t, r), "round %d, deed %d", number, i)
			tell("did %d %d", number, i+1)
		}
	}
}

// Killed at any moment: what the process was told is done is there, and of what it
// was doing all or nothing.
func TestRegistryKilledAtAnyMoment(t *testing.T) {
	t.Parallel()
	keys, dir := tokenstore.GenerateKey(), t.TempDir()
	children, before := 10, map[string][]row{}
	if testing.Short() {
		children = 2
	}
	for first, n := 0, 0; n < children; n++ {
		number, done := killedRound(t, registryConfig{Dir: dir, Keys: keys, Task: "rounds", First: first}, 1+rand.IntN(3*len(deeds)))
		t.Run(fmt.Sprintf("round %d, deed %d", number, done), func(t *testing.T) {
			s := openSite(t, dir, keys, nil)
			after := s.rows(t)
			var left []string
			for i := range number + 2 {
				left = append(left, newRound(s, i).org)
			}
			requireNoOrphans(t, after, left...)
			requireOnwards(t, before, after)
			s.requireUsable(t)
			before = after

			for i := first; i < number; i++ {
				require.Empty(t, newRound(s, i).found(t, after))
			}
			r := newRound(s, number)
			if done == len(deeds) {
				require.Empty(t, r.found(t, after))
				r, done = newRound(s, number+1), 0
			}
			require.Contains(t, [][]string{r.after(done), r.after(done + 1)}, r.found(t, after))
		})
		first = number + 2
	}
}

// killedRound kills a child at some moment after it has done so many deeds, and
// returns how far it says it has come.
func killedRound(t *testing.T, cfg registryConfig, deeds int) (number, done int) {
	t.Helper()
	c := startChild(t, cfg)
	var last string
	for range deeds {
		line, ok := <-c.lines
		require.True(t, ok, "the child ended by itself")
		last = line
	}
	<-time.After(rand.N(4 * time.Millisecond)) // the longest of the deeds
	require.NoError(t, c.cmd.Process.Kill())
	if rest := c.end(); len(rest) > 0 {
		last = rest[len(rest)-1]
	}
	_, err := fmt.Sscanf(last, "did %d %d", &number, &done)
	require.NoError(t, err)
	return number, done
}
