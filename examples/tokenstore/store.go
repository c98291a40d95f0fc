package documentstore

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bifrost-go/bifrost/tokenstore"
)

// Store is a tokenstore.Store in a [Document].
type Store struct {
	document Document
	// writing lets writers of one process queue instead of swapping each other out.
	writing sync.Mutex
	newest  atomic.Pointer[version]
}

var _ tokenstore.Store = (*Store)(nil)

// New returns the store in a document. Several, in several processes, may share it.
func New(document Document) *Store { return &Store{document: document} }

// Ping lets bifrost.Ready see whether the storage can be reached. It is optional.
func (s *Store) Ping(ctx context.Context) error {
	_, err := s.read(ctx)
	return err
}

// Load implements tokenstore.Store.
func (s *Store) Load(ctx context.Context, key tokenstore.Key) (*tokenstore.Connection, error) {
	v, err := s.read(ctx)
	if err != nil {
		return nil, err
	}
	return v.contents.load(key, s.now()), nil
}

// Update implements tokenstore.Store. Everything else hangs on it: that change sees
// the newest record, and that the record and its events are written together or
// not at all. It is the swap that makes it so.
func (s *Store) Update(
	ctx context.Context, key tokenstore.Key, change func(c *tokenstore.Connection, now time.Time) error,
) (*tokenstore.Connection, error) {
	var was, is *tokenstore.Connection
	var refused error
	err := s.change(ctx, func(c *contents, now time.Time) error {
		was = c.load(key, now)
		is = was.Clone()
		if refused = change(is, now); refused != nil {
			return refused
		}
		is = is.Clone() // change may have kept what it was given
		is.Key = key
		if err := tokenstore.CheckTexts(is); err != nil {
			return err
		}
		for _, e := range is.Pending {
			e.Key = key
			c.log(e, now)
		}
		is.Version, is.UpdatedAt, is.ReadAt, is.Pending = was.Version+1, now, now, nil
		c.Change++
		stored := newRecord(is, c.Change)
		if i := c.find(key); i >= 0 {
			c.Records[i] = stored
		} else {
			c.Records = append(c.Records, stored)
		}
		return nil
	})
	switch {
	case refused != nil:
		return was, refused
	case err != nil:
		return nil, err
	}
	return is, nil
}

// List implements tokenstore.Store.
func (s *Store) List(ctx context.Context, match tokenstore.Match, after *tokenstore.Key, limit int) ([]*tokenstore.Connection, error) {
	v, err := s.read(ctx)
	if err != nil {
		return nil, err
	}
	var list []*tokenstore.Connection
	for _, r := range v.contents.Records {
		if key := r.Connection.Key; match.Matches(key) && (after == nil || compareKeys(key, *after) > 0) {
			list = append(list, v.contents.load(key, s.now()))
		}
	}
	slices.SortFunc(list, func(a, b *tokenstore.Connection) int { return compareKeys(a.Key, b.Key) })
	return atMost(list, limit), nil
}

// Due implements tokenstore.Store.
func (s *Store) Due(ctx context.Context, limit int) ([]tokenstore.Key, error) {
	now := s.now()
	return s.keys(ctx, limit,
		func(r record) bool { return !r.Connection.DueAt.IsZero() && !r.Connection.DueAt.After(now) },
		func(a, b record) int { return a.Connection.DueAt.Compare(b.Connection.DueAt) })
}

// Changes implements tokenstore.Store.
func (s *Store) Changes(ctx context.Context, after int64, limit int) (keys []tokenstore.Key, next int64, err error) {
	v, err := s.read(ctx)
	switch {
	case err != nil:
		return nil, after, err
	case after < 0:
		return nil, v.contents.Change, nil
	case after > v.contents.Change: // a position of before a backup was restored
		after = 0
	}
	next = after
	keys, err = s.keys(ctx, limit,
		func(r record) bool { return r.Change > after },
		func(a, b record) int { return cmp.Compare(a.Change, b.Change) },
		func(r record) { next = r.Change })
	return keys, next, err
}

// keys returns the keys of the records that fit, in order; each is told of those
// that are returned.
func (s *Store) keys(
	ctx context.Context, limit int, fits func(record) bool, order func(a, b record) int, each ...func(record),
) ([]tokenstore.Key, error) {
	v, err := s.read(ctx)
	if err != nil {
		return nil, err
	}
	var records []record
	for _, r := range v.contents.Records {
		if fits(r) {
			records = append(records, r)
		}
	}
	slices.SortFunc(records, order)
	var keys []tokenstore.Key
	for _, r := range atMost(records, limit) {
		keys = append(keys, r.Connection.Key)
		for _, tell := range each {
			tell(r)
		}
	}
	return keys, nil
}

// compareKeys orders keys byte-wise, part by part.
func compareKeys(a, b tokenstore.Key) int {
	return cmp.Or(
		cmp.Compare(a.Definition, b.Definition), cmp.Compare(a.Org, b.Org),
		cmp.Compare(a.User, b.User), cmp.Compare(a.Account, b.Account),
	)
}

func atMost[T any](list []T, limit int) []T { return list[:min(len(list), max(limit, 0))] }
