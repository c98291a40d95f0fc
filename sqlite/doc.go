// Package sqlite keeps everything Bifrost persists in one SQLite file: yours, or
// one of its own. Tables and indexes are named bifrost_….
//
//	db, err := sqlite.Open("bifrost.db")
//
// Several processes may share the file. Each has one connection that writes and a
// pool that reads; a write is one BEGIN IMMEDIATE transaction, on stable storage
// (WAL, synchronous=FULL) before it is reported as done. Writes that wait at the
// same time share a commit, because the sync to disk is what costs. [DB.InTx] makes
// one transaction of writes to several stores.
//
// The schema is versioned, and brought up to date by [Open] and [New], or by
// [Migrate] alone. A program refuses a database that a newer one has changed
// only if the change is one it cannot live with.
//
// The database's clock is the only one that stored times are compared with.
//
// Start reading at [Open], then write.go for how writes work.
package sqlite
