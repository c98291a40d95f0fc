// Package postgres keeps everything Bifrost persists in a PostgreSQL database,
// yours or one of its own. Tables and indexes are named bifrost_…, and are in the
// first schema of the search_path.
//
//	db, err := postgres.Open(ctx, "postgres://bifrost@db.internal/app")
//
// Any number of processes may use one database. A write is one READ COMMITTED
// transaction that is on stable storage (synchronous_commit on, or better if the
// server is set so) before it is reported as done; what many write at once is kept
// apart by row locks and by comparing versions. [DB.InTx] makes one transaction of
// writes to several stores, and runs alone.
//
// Updates of connections that wait at the same time share a transaction, each record
// once: what costs is the wait for the disk and for the network, and it is the same
// for one as for many. One that fails does not fail the others.
//
// It works behind PgBouncer in transaction mode: nothing is kept in a session. No
// statement is prepared, settings are set for one transaction only, and locks end
// with it. Where sessions are one's own, [Open] can prepare what is read: most of the
// time that reading a record takes is the server's to plan it. With
// default_query_exec_mode=cache_statement in the URL it takes about a third (BenchmarkLoad).
//
// Callers may leave at any moment, and cost no session by it, of which a pooler has
// few: what they read goes on to its end without them, and a write that waits for a
// lock is cancelled by the server and rolled back.
//
// The database must be the primary: a standby answers with what was true a moment
// ago, and a refresh token that was used a moment ago must not be used again. A primary
// that is to be replaced is not written to once default_transaction_read_only is on.
//
// Connections, definitions and settings have change feeds, whose positions must be
// in the order of the commits, or a reader would pass over what commits late. A
// sequence is not, and neither are transaction ids, which also begin anew when a
// database is dumped and restored. So they come from a counter whose row is locked
// while positions are given; for that not to be longer than the commit itself, they
// are given in the message that commits, and stand provisionally until then. Rows
// of the history are numbered by a sequence: the newest first, a page never misses
// what was committed before it was read.
//
// Every transaction with positions notifies. With [Listen] a process hears of it on a
// connection of its own, which must not lead through PgBouncer in transaction mode,
// and looks at the feeds at once. Without, or while that connection is lost, it finds
// changes by looking, within bifrost.Config.Staleness; where it listens, that can be
// long, and spares most looks.
//
// The schema is versioned, and brought up to date by [Open] and [New], or by
// [Migrate] alone. A program refuses a database that a newer one has changed only if
// the change is one it cannot live with.
//
// The database's clock is the only one that stored times are compared with.
//
// Start reading at [Open], then write.go for how writes work, and group.go for how
// they share a transaction.
package postgres
