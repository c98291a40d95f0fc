// Package storetest is the suite that every [tokenstore.Store] passes, yours too:
//
//	func TestStore(t *testing.T) {
//		storetest.Run(t, func(t *testing.T) tokenstore.Store { return mystore.Open(t.TempDir()) })
//	}
//
// It checks the contract in the comments of tokenstore.Store edge by edge: what an
// absent record looks like, that failed and panicking changes leave nothing, that
// concurrent updates lose nothing, that the change feed misses nothing, that a flow
// is taken once, that no two keys are ever confused, and that what is handed out is
// a copy. Stores whose storage is shared by several processes run [RunShared] too,
// with two handles on one storage.
//
// Times must be kept to the microsecond; nothing finer is asked for. The suite uses
// the store's real clock and waits for nothing longer than a few milliseconds.
//
// Start reading at [Run].
package storetest
