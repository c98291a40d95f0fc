// Package storetest is the suite that every [integrations.Store] passes, yours too:
//
//	func TestStore(t *testing.T) {
//		storetest.Run(t, func(t *testing.T) integrations.Store { return mystore.Open(t.TempDir()) })
//	}
//
// It checks the contract in the comments of integrations.Store edge by edge: that a
// write is a comparison and one of many writers wins, that names are unique among
// what is not deleted, that the feeds miss nothing, that no two keys are ever
// confused, and that what is handed out is a copy. Stores whose storage is shared by
// several processes run [RunShared] too, with two handles on one storage.
//
// Times must be kept to the microsecond, JSON by its meaning, and every text that is
// UTF-8 without NUL as it is.
//
// Start reading at [Run].
package storetest
