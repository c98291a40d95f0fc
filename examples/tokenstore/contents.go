package documentstore

import (
	"bytes"
	"context"
	"encoding/gob"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/bifrost-go/bifrost/tokenstore"
)

// contents is what the document holds. It is gob, not JSON, because parts of a key
// may be any bytes, and JSON would make two keys of different ones the same.
type contents struct {
	Records []record // in no order
	Events  []tokenstore.Event
	Flows   []tokenstore.Flow // oldest first
	Checks  map[string][]byte

	Change int64 // the position of the newest write
	Event  int64 // the id of the newest event
}

type record struct {
	Connection tokenstore.Connection
	Change     int64 // the position of its last write
	// NoScopes: the provider said that it granted none. gob makes nil of an empty
	// list, and nil means that the provider did not say.
	NoScopes bool
}

func newRecord(c *tokenstore.Connection, change int64) record {
	return record{Connection: *c.Clone(), Change: change, NoScopes: c.ScopesGranted != nil && len(c.ScopesGranted) == 0}
}

func (r *record) connection() *tokenstore.Connection {
	c := r.Connection.Clone()
	if r.NoScopes {
		c.ScopesGranted = []string{}
	}
	return c
}

// version is a document as it was read, decoded. It is shared, and never changed.
type version struct {
	revision int64
	contents *contents
}

// read returns the document as it is now, decoded anew only if somebody else has
// written it.
func (s *Store) read(ctx context.Context) (*version, error) {
	text, revision, err := s.document.Read(ctx)
	if err != nil {
		return nil, fmt.Errorf("documentstore: reading: %w", err)
	}
	if v := s.newest.Load(); v != nil && v.revision == revision {
		return v, nil
	}
	v := &version{revision, &contents{}}
	if revision > 0 {
		if err := gob.NewDecoder(bytes.NewReader(text)).Decode(v.contents); err != nil {
			return nil, fmt.Errorf("documentstore: the document is damaged: %w", err)
		}
	}
	s.newest.Store(v)
	return v, nil
}

// change reads, changes and swaps, again and again until nobody came between. An
// error of f is returned as it is, and nothing is written then.
func (s *Store) change(ctx context.Context, f func(c *contents, now time.Time) error) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	for {
		v, err := s.read(ctx)
		if err != nil {
			return err
		}
		c := v.contents.clone()
		if err := f(c, s.now()); err != nil {
			return err
		}
		var text bytes.Buffer
		if err := gob.NewEncoder(&text).Encode(c); err != nil {
			return fmt.Errorf("documentstore: %w", err)
		}
		swapped, err := s.document.Swap(ctx, v.revision, text.Bytes())
		if err != nil {
			return fmt.Errorf("documentstore: writing: %w", err)
		}
		if swapped {
			s.newest.Store(&version{v.revision + 1, c})
			return nil
		}
	}
}

// clone returns a copy whose lists can be changed. What is in them cannot.
func (c *contents) clone() *contents {
	d := *c
	d.Records, d.Events, d.Flows, d.Checks = slices.Clone(c.Records), slices.Clone(c.Events), slices.Clone(c.Flows), maps.Clone(c.Checks)
	if d.Checks == nil {
		d.Checks = map[string][]byte{}
	}
	return &d
}

// now is the store's clock. One that several processes share should be the
// storage's: times of different machines do not compare.
func (s *Store) now() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }

// load returns the record under key as it was read; one that was never stored is
// no error.
func (c *contents) load(key tokenstore.Key, now time.Time) *tokenstore.Connection {
	conn := &tokenstore.Connection{Key: key, Status: tokenstore.NotConnected}
	if i := c.find(key); i >= 0 {
		conn = c.Records[i].connection()
	}
	conn.ReadAt = now
	return conn
}

func (c *contents) find(key tokenstore.Key) int {
	for i := range c.Records {
		if c.Records[i].Connection.Key == key {
			return i
		}
	}
	return -1
}

func (c *contents) log(e tokenstore.Event, now time.Time) {
	c.Event++
	e.ID, e.At = c.Event, now
	c.Events = append(c.Events, e)
}
