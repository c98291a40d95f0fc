package oauthflow

import (
	"context"
	"errors"
	"time"

	"github.com/bifrost-go/bifrost/tokenstore"
)

// connecting is the storing of a new grant. Where the store's answer is lost it is
// tried again, since the code that brought the tokens is spent; but a repetition must
// not undo what came after the first try.
type connecting struct {
	h        *Handle
	g        grant
	tok      *tokens
	obtained stopwatch // since when the tokens live
	// over is the record that a write without an answer was for; nil while each had one.
	over *tokenstore.Connection
}

// try seals for the generation that comes next and writes, again if a refresh of
// the old grant was quicker. errMoved: somebody else has disconnected or connected
// since the first try, and that stands.
func (s *connecting) try(ctx context.Context) error {
	// Not Handle.read: a restored backup is no reason not to connect again.
	c, err := s.h.m.cfg.Store.Load(ctx, s.h.key)
	if err != nil {
		return err
	}
	s.g.keepAlive = s.h.m.cfg.KeepAlive
	for c.GrantID != s.g.id { // else an earlier write came through after all
		if s.overtaken(c) {
			return errMoved
		}
		s.g.generation = c.Generation + 1
		if s.g.sealed, err = s.tok.seal(ctx, s.h.m.cfg.Sealer, s.h.key, s.g.generation); err != nil {
			return err
		}
		v, err := s.h.update(ctx, func(c *tokenstore.Connection, now time.Time) error {
			return connect(c, now, s.g, s.obtained.elapsed())
		})
		switch {
		case err == nil, errors.Is(err, errOtherAccount), errors.Is(err, ErrConnected):
			return err
		case !errors.Is(err, errMoved):
			s.over = c
			return err
		}
		c = v.conn
	}
	return nil
}

// overtaken reports whether c is later than a write of ours whose answer was lost.
// A refresh of the grant that was there before is not: the newer grant wins.
func (s *connecting) overtaken(c *tokenstore.Connection) bool {
	if s.over == nil {
		return false
	}
	return c.GrantID != s.over.GrantID || !c.Connected() && c.Generation != s.over.Generation
}
