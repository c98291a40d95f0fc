package postgres

import (
	"context"
	"time"
)

const (
	// leaveGrace is how long a transaction's statement may go on whose caller has left.
	// Nearly all have come to their end by then, if they do not wait for a lock.
	leaveGrace = 50 * time.Millisecond
	// cancelPatience bounds how long it takes the server to cancel one that has not.
	cancelPatience = 2 * time.Second
	// cancelDelay is how much later than it is answered a request to cancel may arrive
	// where it is to: by then the connection must not run anything else.
	cancelDelay = 100 * time.Millisecond
)

// statement calls do, which sends a statement and reads the answer, unless t's
// context has ended. If it ends meanwhile, the server is asked to cancel the
// statement, and the transaction can be rolled back; pgx would close the connection,
// and behind PgBouncer one of the few sessions that all share. What has no answer to
// that either is broken off.
func (t *tx) statement(do func(ctx context.Context) error) (err error) {
	if err := t.ctx.Err(); err != nil {
		return err
	}
	ctx, cut := context.WithCancel(context.WithoutCancel(t.ctx))
	defer cut()
	ended, left := make(chan struct{}), make(chan struct{})
	stop := context.AfterFunc(t.ctx, func() {
		defer close(left)
		t.cancel(ended, cut)
	})
	defer func() { // also if do panics, or ends its goroutine
		close(ended)
		if stop() {
			return
		}
		<-left
		if err != nil {
			err = t.ctx.Err()
		}
	}()
	return do(ctx)
}

// cancel has the server cancel a statement that does not come to its end, and calls
// cut where that does not help. A request of which nobody knows where it is may cancel
// anything that the connection runs later, so then t is the last to use it.
func (t *tx) cancel(ended <-chan struct{}, cut func()) {
	select {
	case <-ended:
		return
	case <-time.After(leaveGrace):
	}
	ctx, stop := context.WithTimeout(context.WithoutCancel(t.ctx), cancelPatience)
	defer stop()
	err := t.conn.Conn().PgConn().CancelRequest(ctx)
	if err == nil && ctx.Err() == nil { // it returns nil as well when there was no answer
		select {
		case <-ended:
			<-time.After(cancelDelay)
			return
		case <-ctx.Done():
		}
	}
	t.spent = true
	cut()
}
