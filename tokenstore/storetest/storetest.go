package storetest

import (
	"context"
	"errors"
	"reflect"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/tokenstore"
)

type group struct {
	name string
	run  func(t *testing.T, open func(t *testing.T) tokenstore.Store)
}

var groups = []group{
	{"Load", testLoad},
	{"Update", testUpdate},
	{"Failure", testFailure},
	{"Copies", testCopies},
	{"Keys", testKeys},
	{"Texts", testTexts},
	{"List", testList},
	{"Due", testDue},
	{"Changes", testChanges},
	{"Events", testEvents},
	{"AddEvents", testAddEvents},
	{"DeleteEvents", testDeleteEvents},
	{"DeleteFlows", testDeleteFlows},
	{"Flows", testFlows},
	{"OpenFlows", testOpenFlows},
	{"KeyCheck", testKeyCheck},
	{"Concurrency", testConcurrency},
	{"Notify", testNotify},
}

// Run checks a store. Open is called once per test and returns an empty store;
// what it opens it closes in t.Cleanup.
func Run(t *testing.T, open func(t *testing.T) tokenstore.Store) {
	for _, g := range groups {
		t.Run(g.name, func(t *testing.T) { g.run(t, open) })
	}
}

// RunShared checks that two handles on one empty storage are as good as one:
// what Run checks, with every call going to the other handle than the one before.
// The handles should have nothing in common but the storage, as in two processes.
func RunShared(t *testing.T, open func(t *testing.T) (a, b tokenstore.Store)) {
	Run(t, func(t *testing.T) tokenstore.Store {
		a, b := open(t)
		return &alternating{stores: [2]tokenstore.Store{a, b}}
	})
}

// alternating is a store whose calls go to two others in turn.
type alternating struct {
	calls  atomic.Uint64
	stores [2]tokenstore.Store
}

func (s *alternating) next() tokenstore.Store { return s.stores[s.calls.Add(1)%2] }

func (s *alternating) Load(ctx context.Context, key tokenstore.Key) (*tokenstore.Connection, error) {
	return s.next().Load(ctx, key)
}

func (s *alternating) Update(ctx context.Context, key tokenstore.Key, change func(c *tokenstore.Connection, now time.Time) error) (*tokenstore.Connection, error) {
	return s.next().Update(ctx, key, change)
}

func (s *alternating) List(ctx context.Context, match tokenstore.Match, after *tokenstore.Key, limit int) ([]*tokenstore.Connection, error) {
	return s.next().List(ctx, match, after, limit)
}

func (s *alternating) Due(ctx context.Context, limit int) ([]tokenstore.Key, error) {
	return s.next().Due(ctx, limit)
}

func (s *alternating) Changes(ctx context.Context, after int64, limit int) ([]tokenstore.Key, int64, error) {
	return s.next().Changes(ctx, after, limit)
}

func (s *alternating) Events(ctx context.Context, match tokenstore.Match, before int64, limit int) ([]tokenstore.Event, error) {
	return s.next().Events(ctx, match, before, limit)
}

func (s *alternating) AddEvents(ctx context.Context, events ...tokenstore.Event) error {
	return s.next().AddEvents(ctx, events...)
}

func (s *alternating) DeleteEvents(ctx context.Context, match tokenstore.Match, age time.Duration, limit int) (int, error) {
	return s.next().DeleteEvents(ctx, match, age, limit)
}

func (s *alternating) DeleteFlows(ctx context.Context, match tokenstore.Match) error {
	return s.next().DeleteFlows(ctx, match)
}

func (s *alternating) PutFlow(ctx context.Context, flow tokenstore.Flow, life time.Duration, maxOpen int) (tokenstore.Flow, error) {
	return s.next().PutFlow(ctx, flow, life, maxOpen)
}

func (s *alternating) GetFlow(ctx context.Context, stateHash string) (tokenstore.Flow, error) {
	return s.next().GetFlow(ctx, stateHash)
}

func (s *alternating) TakeFlow(ctx context.Context, stateHash string) (tokenstore.Flow, error) {
	return s.next().TakeFlow(ctx, stateHash)
}

func (s *alternating) HasFlow(ctx context.Context, key tokenstore.Key) (bool, error) {
	return s.next().HasFlow(ctx, key)
}

// Notify is the first store's: it hears of the other's writes as well.
func (s *alternating) Notify(ctx context.Context) <-chan struct{} {
	if n, ok := s.stores[0].(tokenstore.Notifier); ok {
		return n.Notify(ctx)
	}
	return nil
}

func (s *alternating) KeyCheck(ctx context.Context, keyID string, check []byte) (map[string][]byte, error) {
	return s.next().KeyCheck(ctx, keyID, check)
}

func (s *alternating) DeleteKeyCheck(ctx context.Context, keyID string) error {
	return s.next().DeleteKeyCheck(ctx, keyID)
}

// What follows is shared by the groups.

var errRefused = errors.New("refused by the test")

// sampleKey has all four parts.
var sampleKey = tokenstore.Key{Definition: "def-1", Org: "acme", User: "ann", Account: "work"}

// update changes a record and fails the test if that fails.
func update(t *testing.T, s tokenstore.Store, key tokenstore.Key, change func(c *tokenstore.Connection, now time.Time)) *tokenstore.Connection {
	t.Helper()
	c, err := s.Update(t.Context(), key, func(c *tokenstore.Connection, now time.Time) error {
		if change != nil {
			change(c, now)
		}
		return nil
	})
	require.NoError(t, err)
	require.NotNil(t, c)
	return c
}

func load(t *testing.T, s tokenstore.Store, key tokenstore.Key) *tokenstore.Connection {
	t.Helper()
	c, err := s.Load(t.Context(), key)
	require.NoError(t, err)
	require.NotNil(t, c)
	return c
}

// fill sets every field that is not the store's to something other than zero.
func fill(c *tokenstore.Connection, now time.Time) {
	at := func(d time.Duration) time.Time { return now.Add(d) }
	c.Generation, c.GrantID, c.Status, c.Reason = 7, "grant-1", tokenstore.Degraded, "lost_rotation"
	c.LastError = &tokenstore.Failure{Code: "invalid_grant", Message: "gone — “for good”\n", At: at(-time.Minute)}
	c.Sealed, c.HasAccessToken, c.HasRefreshToken = []byte{0, 1, 2, 0xff, 0}, true, true
	c.ExpiresAt, c.ObtainedAt, c.LastRefreshAt, c.DueAt = at(time.Hour), at(-time.Second), at(-time.Millisecond), at(time.Microsecond)
	c.EntityID, c.ClientID, c.TokenHost = "tenant", "client", "https://login.example.com/tenant"
	c.Fingerprint = "0f"
	c.Kept, c.Revoking = 3, []byte{0, 255, 2}
	c.AccountID, c.AccountName = "id-1", "ann@example.com"
	c.ConnectedBy, c.ConnectedAt = "ann", at(-24*time.Hour)
	c.ScopesRequested, c.ScopesGranted = []string{"a", "b c", `"d",\`}, []string{"a"}
	c.Failures, c.FirstFailureAt, c.RetryAt = 3, at(-2*time.Minute), at(2*time.Minute)
	c.Attempt = &tokenstore.Attempt{
		ID: "p2", Open: []string{"p1", "p2"}, Generation: 7, TokenHash: []byte{9, 0, 9},
		Started: at(-3 * time.Second), Deadline: at(27 * time.Second), Presentations: 2,
	}
	c.ParentGeneration, c.ParentPresentation = 6, 1
}

// complete fails if fill forgot a field: a field added to Connection must be
// added there, or no store would be tested for keeping it.
func complete(t *testing.T, v reflect.Value, path string, except ...string) {
	t.Helper()
	for i := range v.NumField() {
		name, f := v.Type().Field(i).Name, v.Field(i)
		skip := false
		for _, e := range except {
			skip = skip || e == name
		}
		if skip {
			continue
		}
		require.False(t, f.IsZero(), "storetest does not fill %s.%s", path, name)
		if f.Kind() == reflect.Pointer {
			f = f.Elem()
		}
		if f.Kind() == reflect.Struct && f.Type() != reflect.TypeFor[time.Time]() {
			complete(t, f, path+"."+name)
		}
	}
}

// plain returns a copy of c whose times compare with ==, without what differs from
// one reading to the next.
func plain(c *tokenstore.Connection) *tokenstore.Connection {
	d := c.Clone()
	d.ReadAt = time.Time{}
	plainTimes(reflect.ValueOf(d).Elem())
	return d
}

func plainTimes(v reflect.Value) {
	for i := range v.NumField() {
		f := v.Field(i)
		if f.Kind() == reflect.Pointer {
			if f.IsNil() {
				continue
			}
			f = f.Elem()
		}
		if at, ok := f.Interface().(time.Time); ok {
			at = at.UTC().Truncate(time.Microsecond)
			if at.IsZero() {
				at = time.Time{}
			}
			f.Set(reflect.ValueOf(at))
		} else if f.Kind() == reflect.Struct {
			plainTimes(f)
		}
	}
}

// same compares records, but for ReadAt and finer than a microsecond.
func same(t *testing.T, want, got *tokenstore.Connection, msg ...any) {
	t.Helper()
	assert.Equal(t, plain(want), plain(got), msg...)
}

func keysOf(list []*tokenstore.Connection) []tokenstore.Key {
	keys := make([]tokenstore.Key, 0, len(list))
	for _, c := range list {
		keys = append(keys, c.Key)
	}
	return keys
}
