package bifrost_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"

	"github.com/bifrost-go/bifrost/integrations"
	"github.com/bifrost-go/bifrost/tokenstore"
)

const sharedStaleness = 100 * time.Millisecond

// tally is what one process was told has happened.
type tally struct {
	Updates, Mappings, Configs int
	LastMapping                string
	LastConfig                 int
	Created                    []string       // names that stay
	Brief                      map[string]int // created less deleted, of names that come and go
}

// writer changes what another process changes at the same time.
type writer struct {
	*site
	me string
	tally
}

const sharedOrg = "acme"

// play makes one of each change. A write that others were before too often is not
// done, and says so.
func (w *writer) play(ctx context.Context, i int) error {
	reg, global := w.Integrations, integrations.Global()
	counted := func(err error, n *int) error {
		if err == nil {
			*n++
		}
		return unless(err, integrations.ErrConflict)
	}
	_, err := reg.Update(ctx, "Shared", w.me, func(d *integrations.Definition) error {
		var n int
		_, err := fmt.Sscanf(d.Description, "changed %d times", &n)
		d.Description = fmt.Sprintf("changed %d times", n+1)
		return err
	}, global)
	if err := counted(err, &w.Updates); err != nil {
		return err
	}

	mapping := fmt.Sprint(w.me, " ", i)
	_, err = reg.SetMapping(ctx, "Shared", integrations.Mapping{Org: sharedOrg, EntityID: "acme", EntityName: mapping}, w.me, global)
	if err == nil {
		w.LastMapping = mapping
	}
	if err := counted(err, &w.Mappings); err != nil {
		return err
	}
	_, err = reg.SetConfig(ctx, "Shared", map[string]any{w.me: i}, w.me, integrations.Org(sharedOrg))
	if err == nil {
		w.LastConfig = i
	}
	if err := counted(err, &w.Configs); err != nil {
		return err
	}

	name := fmt.Sprint("Name-", i)
	if _, err = reg.Create(ctx, described(name, "", 1), w.me); err == nil {
		w.Created = append(w.Created, name)
	}
	if err := unless(err, integrations.ErrExists); err != nil {
		return err
	}
	if err := w.brief(ctx, fmt.Sprint("Brief-", i)); err != nil {
		return err
	}
	return w.passing(ctx, fmt.Sprint("passing-", i))
}

// brief makes a definition and deletes it, while another process does as well and
// both set something for it.
func (w *writer) brief(ctx context.Context, name string) error {
	reg, global := w.Integrations, integrations.Global()
	_, err := reg.Create(ctx, described(name, "", 1), w.me)
	if err == nil {
		w.Brief[name]++
	}
	if err := unless(err, integrations.ErrExists); err != nil {
		return err
	}
	late := []error{integrations.ErrNotFound, integrations.ErrConflict}
	for _, org := range []string{"one", "other"} {
		if err := unless(w.mapTo(ctx, name, org, "acme"), late...); err != nil {
			return err
		}
		if err := unless(w.configure(ctx, name, "key of "+w.me, integrations.Org(org)), late...); err != nil {
			return err
		}
	}
	token := &oauth2.Token{AccessToken: "at", RefreshToken: "rt"}
	_, err = reg.Import(ctx, name, token, integrations.ImportOptions{Actor: w.me}, integrations.Org("one"))
	if err := unless(err, append(late, integrations.ErrExists)...); err != nil {
		return err
	}
	if _, err = reg.Delete(ctx, name, w.me, global); err == nil {
		w.Brief[name]--
	}
	return unless(err, late...)
}

// passing makes an organization with a definition and deletes it, while another
// process does as well. In the end nothing is left of it.
func (w *writer) passing(ctx context.Context, org string) error {
	in := integrations.Org(org)
	if _, err := w.Integrations.Create(ctx, described("Own", org, 1), w.me); unless(err, integrations.ErrExists) != nil {
		return err
	}
	if err := unless(w.configure(ctx, "Own", "key of "+w.me, in), integrations.ErrNotFound, integrations.ErrConflict); err != nil {
		return err
	}
	_, err := w.Integrations.Update(ctx, "Own", w.me, update, in)
	if err := unless(err, integrations.ErrNotFound, integrations.ErrConflict); err != nil {
		return err
	}
	_, err = w.DeleteOrg(ctx, org, w.me)
	return err
}

// say writes a word where the other process looks for it.
func (s *site) say(ctx context.Context, word string) error {
	_, err := s.Integrations.Update(ctx, "Word", admin, func(d *integrations.Definition) error {
		d.Description = word
		return nil
	}, integrations.Global())
	if err != nil {
		return err
	}
	_, err = s.Integrations.SetConfig(ctx, "Word", map[string]any{"word": word}, admin, integrations.Org(sharedOrg))
	return err
}

// see looks for a word that is written by now. No look that begins later than
// Config.Staleness may miss it.
func (s *site) see(ctx context.Context, word string) error {
	written := time.Now()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		began := time.Now()
		in, err := s.Integrations.Get(ctx, "Word", integrations.Org(sharedOrg))
		if err != nil {
			return err
		}
		if in.Description() == word && in.Config().String("word") == word {
			return nil
		}
		if age := began.Sub(written); age > sharedStaleness {
			return fmt.Errorf("%q is not seen after %v: %q, %q", word, age, in.Description(), in.Config().String("word"))
		}
		<-tick.C
	}
}

// shareAsChild is the other process: it does what standard input says, a line
// each, and tells its tally at the end.
func shareAsChild(t *testing.T, cfg registryConfig) {
	s := openSite(t, cfg.Dir, cfg.Keys, nil)
	require.NoError(t, s.Start(t.Context()))
	w := &writer{site: s, me: "child", tally: tally{Brief: map[string]int{}}}
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		what, arg, _ := strings.Cut(in.Text(), " ")
		switch what {
		case "play":
			var i int
			_, err := fmt.Sscan(arg, &i)
			require.NoError(t, err)
			require.NoError(t, w.play(t.Context(), i))
		case "delete":
			_, err := s.Integrations.Delete(t.Context(), arg, w.me, integrations.Global())
			require.NoError(t, err)
		case "see":
			require.NoError(t, s.see(t.Context(), arg))
		case "say":
			require.NoError(t, s.say(t.Context(), arg))
		}
		tell("done")
	}
	text, err := json.Marshal(w.tally)
	require.NoError(t, err)
	tell("%s", text)
}

// ask tells a child what to do; await waits until it is done.
func (c *child) ask(t *testing.T, format string, args ...any) {
	t.Helper()
	_, err := fmt.Fprintf(c.stdin, format+"\n", args...)
	require.NoError(t, err)
}

func (c *child) await(t *testing.T) {
	t.Helper()
	line, ok := <-c.lines
	require.True(t, ok, "the child fails")
	require.Equal(t, "done", line)
}

// shared opens a site, and starts a child on the same files.
func shared(t *testing.T) (*site, *child) {
	t.Helper()
	keys, dir := tokenstore.GenerateKey(), t.TempDir()
	s := openSite(t, dir, keys, nil)
	require.NoError(t, s.Start(t.Context()))
	_, err := s.Integrations.Create(t.Context(), integrations.Definition{
		Name: "Shared", Description: "changed 0 times", DefaultEntityID: "common",
		Config: []integrations.ConfigField{{Key: "child", Type: integrations.ConfigInt}, {Key: "parent", Type: integrations.ConfigInt}},
	}, admin)
	require.NoError(t, err)
	_, err = s.Integrations.Create(t.Context(), integrations.Definition{
		Name: "Word", Config: []integrations.ConfigField{{Key: "word", Type: integrations.ConfigString}},
	}, admin)
	require.NoError(t, err)
	return s, startChild(t, registryConfig{Dir: dir, Keys: keys, Task: "share"})
}

// Two processes change the same things at once. Nothing that was confirmed is
// lost, unless to a later change; no name is given twice; nothing is left of what
// one has deleted while the other set something for it.
func TestTwoProcessesLoseNoChange(t *testing.T) {
	t.Parallel()
	s, c := shared(t)
	w := &writer{site: s, me: "parent", tally: tally{Brief: map[string]int{}}}
	turns := 25
	if testing.Short() {
		turns = 10
	}
	for i := range turns {
		c.ask(t, "play %d", i)
		require.NoError(t, w.play(t.Context(), i))
		c.await(t)
	}
	require.NoError(t, c.stdin.(io.Closer).Close())
	told := c.end()
	require.Len(t, told, 1, "the child fails")
	var child tally
	require.NoError(t, json.Unmarshal([]byte(told[0]), &child))

	all := s.rows(t)
	// Who writes reads first what others have written: from here on nothing that this
	// process knows is older.
	_, err := s.Integrations.Create(t.Context(), described("Barrier", "", 1), admin)
	require.NoError(t, err)
	requireNoOrphans(t, all, passed(turns)...)
	for _, r := range append(contents(all), all["bifrost_definitions"]...) {
		require.False(t, strings.HasPrefix(r["org"], "passing-") && r["deleted"] != "1", "left over: %v", r)
	}
	d, err := s.Integrations.Definition(t.Context(), "Shared", integrations.Global())
	require.NoError(t, err)
	require.Equal(t, fmt.Sprintf("changed %d times", w.Updates+child.Updates), d.Description)
	require.Greater(t, w.Updates+child.Updates, turns)

	values, err := s.Integrations.Config(t.Context(), "Shared", integrations.Org(sharedOrg))
	require.NoError(t, err)
	require.EqualValues(t, child.LastConfig, values[0].Value)
	require.EqualValues(t, w.LastConfig, values[1].Value)
	writes := 0
	for m, err := range s.Integrations.Mappings(t.Context(), "Shared", "", integrations.Global()) {
		require.NoError(t, err)
		require.Contains(t, []string{w.LastMapping, child.LastMapping}, m.EntityName)
		writes++
	}
	require.Equal(t, 1, writes)
	for _, r := range all["bifrost_settings"] {
		if r["org"] == sharedOrg {
			require.Equal(t, fmt.Sprint(w.Mappings+w.Configs+child.Mappings+child.Configs), r["version"])
		}
	}

	require.Len(t, append(w.Created, child.Created...), turns, "each name was given once")
	for i := range turns {
		name := fmt.Sprint("Brief-", i)
		left := w.Brief[name] + child.Brief[name]
		require.Contains(t, []int{0, 1}, left)
		_, err := s.Integrations.Definition(t.Context(), name, integrations.Global())
		require.Equal(t, left == 0, errors.Is(err, integrations.ErrNotFound), "%s: %v", name, err)
	}
}

// passed are the organizations that went.
func passed(turns int) (orgs []string) {
	for i := range turns {
		orgs = append(orgs, fmt.Sprint("passing-", i))
	}
	return orgs
}

// What one process has changed the other sees within Staleness, in both
// directions.
func TestTwoProcessesSeeEachOthersChanges(t *testing.T) {
	t.Parallel()
	s, c := shared(t)
	turns := 20
	if testing.Short() {
		turns = 5
	}
	for i := range turns {
		word := fmt.Sprint("ping-", i)
		require.NoError(t, s.say(t.Context(), word))
		c.ask(t, "see %s", word)
		c.await(t)
		word = fmt.Sprint("pong-", i)
		c.ask(t, "say %s", word)
		c.await(t)
		require.NoError(t, s.see(t.Context(), word))
	}
}

// A definition is deleted by one process while another one has sent a code to its
// provider: nothing may be stored under it that nobody would ever find.
func TestDeletedByAnotherProcessDuringACallback(t *testing.T) {
	t.Parallel()
	s, c := shared(t)
	_, err := s.Integrations.Create(t.Context(), described("Graph", "", 1), admin)
	require.NoError(t, err)
	asked := false
	s.meanwhile = func() {
		if !asked {
			asked = true
			c.ask(t, "delete Graph")
			c.await(t)
		}
	}
	require.Error(t, s.tryConnect(t, "Graph", "alice", integrations.Org(sharedOrg)))
	requireNoOrphans(t, s.rows(t))
	require.NoError(t, s.Close()) // which waits for the revocation
	for _, f := range s.provider.Families() {
		require.Equal(t, "client", f.Revoked)
	}
}
