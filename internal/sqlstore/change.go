package sqlstore

// Change is a transaction of one record: it is locked and read, and what is written
// follows from what was read alone. So an engine may run the changes of many callers
// in one transaction, and send what they have in common in one message.
type Change struct {
	// Key is the record's. The queries have its parts as $1 to $4.
	Key [4]string
	// Lock waits for the record's lock; TryLock yields no row if another has it. Where
	// there is no record, neither has anything to lock.
	Lock, TryLock string
	// Load yields the record, and Clock, which has no arguments, one row in any case.
	Load, Clock string
	// Found takes Load's row. Where there is none, Missing takes Clock's, which is read
	// later. If the transaction is run again, so is the one or the other.
	Found, Missing func(scan Scanner) error
	// Decide returns what to write, or why nothing is. It is called after Found or
	// Missing, on the goroutine that called Engine.Change.
	Decide func() ([]Statement, error)
}

// Statement writes rows.
type Statement struct {
	Query string
	Args  []any
	// Feed is where the record that the statement writes has a position, which the
	// engine adds to Args. The statement changes exactly one row then; if it changes
	// none, the transaction fails with [ErrAgain].
	Feed *Feed
}

// Args returns the arguments of the queries.
func (c *Change) Args() []any {
	args := make([]any, len(c.Key))
	for i, part := range c.Key {
		args[i] = part
	}
	return known(args)
}

// Run is the change as a transaction, or a part of one, of its own.
func (c *Change) Run(t Tx) error {
	if err := t.Lock(c.Lock, c.Args()...); err != nil {
		return err
	}
	found := false
	err := t.Each(func(scan Scanner) error {
		found = true
		return c.Found(scan)
	}, c.Load, c.Args()...)
	if err == nil && !found {
		err = t.Each(c.Missing, c.Clock)
	}
	if err != nil {
		return err
	}
	statements, err := c.Decide()
	if err != nil {
		return err
	}
	for _, s := range statements {
		args := s.Args
		if s.Feed != nil {
			position, err := t.Position(*s.Feed)
			if err != nil {
				return err
			}
			args = append(args, position)
		}
		switch changed, err := t.Exec(s.Query, args...); {
		case err != nil:
			return err
		case s.Feed != nil && changed == 0:
			return ErrAgain
		}
	}
	return nil
}
