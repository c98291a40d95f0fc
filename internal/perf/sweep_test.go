package perf_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// BenchmarkSweep is the question what is due, while 100 connections are, among more and
// more that are not.
func BenchmarkSweep(b *testing.B) {
	eachBackend(b, func(b *testing.B, k backend) {
		const dueNow = 100
		sizes := []int{1_000_000, 100_000, 1_000}
		if testing.Short() {
			sizes = sizes[1:]
		}
		var ways []way
		for _, size := range sizes {
			at := k.fresh(b)
			store := k.store(b, at)
			fill(b, store, 1, tokenURL)
			require.NoError(b, multiply(b.Context(), k, k.raw(b, at), size, dueNow))
			ways = append(ways, way{name: fmt.Sprintf("among-%d", size), do: func(n int) {
				for range n {
					keys, err := store.Tokens().Due(b.Context(), 256)
					if err != nil || len(keys) != dueNow {
						b.Error(len(keys), err)
					}
				}
			}})
		}
		inTurns(b, 20, ways...)
	})
}

// multiply makes n connections of the only one there is, some of which are due.
func multiply(ctx context.Context, k backend, db raw, n, dueNow int) error {
	columns, err := db.columns(ctx, "bifrost_connections")
	if err != nil {
		return err
	}
	values := append([]string{}, columns...)
	for i, column := range columns {
		switch column {
		case "org":
			values[i] = `'org-' || n`
		case "change":
			values[i] = `1000 + n`
		case "due_at": // the others within the next weeks
			values[i] = fmt.Sprintf(`CASE WHEN n <= %d THEN n ELSE expires_at + n * 1000000 END`, dueNow)
		}
	}
	series := `(WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < %d) SELECT n FROM s)`
	if k.name == "postgres" {
		series = `(SELECT n FROM generate_series(1::bigint, %d) AS s(n))`
	}
	series = fmt.Sprintf(series, n)
	for _, statement := range []string{
		fmt.Sprintf(`INSERT INTO bifrost_connections (%s) SELECT %s FROM %s AS s, bifrost_connections`,
			strings.Join(columns, ", "), strings.Join(values, ", "), series),
		fmt.Sprintf(`UPDATE bifrost_counters SET value = %d WHERE name = 'changes'`, 1000+n),
		`ANALYZE bifrost_connections`,
	} {
		if err := db.exec(ctx, statement); err != nil {
			return err
		}
	}
	return nil
}
