// Package sqlstore is what Bifrost's stores have in common whatever the database:
// query texts, one migration history, how records stand in columns, and the logic
// around them. Packages sqlite and postgres bring an [Engine] each.
//
// Query texts use $1, $2, … for arguments and words in braces for what databases
// say differently, see [Dialect]. Times are microseconds since 1970, and NULL for
// the zero time; flags are 0 or 1; documents are JSON as text, kept byte for byte.
//
// Records that others follow (connections, definitions, settings) have a position
// in a feed, given in the order of the commits: whoever has read up to a position
// misses nothing that is committed later. [Tx.Position] says how.
package sqlstore
