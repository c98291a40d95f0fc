package sqlstore_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/bifrost-go/bifrost/internal/sqlstore"
)

func TestDialects(t *testing.T) {
	const query = `SELECT {now} FROM t {by t_index} WHERE a {any $1} AND b <= {now} LIMIT $2 {lock} {skip} {other} {}`
	for want, d := range map[string]sqlstore.Dialect{
		`SELECT clock() FROM t INDEXED BY t_index WHERE a IN (SELECT value FROM json_each($1)) AND b <= clock() LIMIT $2   {other} {}`: {
			Now: `clock()`, Any: `IN (SELECT value FROM json_each($))`, By: `INDEXED BY $`,
		},
		`SELECT now() FROM t  WHERE a = ANY ($1) AND b <= now() LIMIT $2 FOR UPDATE FOR UPDATE SKIP LOCKED {other} {}`: {
			Now: `now()`, Any: `= ANY ($)`, Lock: `FOR UPDATE`, Skip: `FOR UPDATE SKIP LOCKED`,
		},
	} {
		assert.Equal(t, want, d.Text(query))
	}
}
