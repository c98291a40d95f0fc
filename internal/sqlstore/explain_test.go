package sqlstore_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/internal/sqlstore"
)

func TestExplain(t *testing.T) {
	hint := func(err error) string {
		if errors.As(err, new(*net.OpError)) {
			return "look at the network"
		}
		return ""
	}
	dial := func(err error) error { return &net.OpError{Op: "dial", Net: "tcp", Err: err} }
	for name, test := range map[string]struct {
		err       error
		explained bool
	}{
		"a fault":                {dial(errors.New("refused")), true},
		"a timeout of the dial":  {dial(context.DeadlineExceeded), true},
		"one without a hint":     {errors.New("other"), false},
		"the caller's deadline":  {context.DeadlineExceeded, false},
		"a dial that he gave up": {dial(context.Canceled), false},
		"no row":                 {fmt.Errorf("reading: %w", sql.ErrNoRows), false},
		"what is explained":      {fmt.Errorf("again: %w", &sqlstore.ExplainedError{Hint: "known", Err: dial(errors.New("refused"))}), false},
	} {
		t.Run(name, func(t *testing.T) {
			err := sqlstore.Explain(test.err, hint)
			require.ErrorIs(t, err, test.err)
			if test.explained {
				assert.EqualError(t, err, "look at the network: "+test.err.Error())
			} else {
				assert.Equal(t, test.err, err)
			}
		})
	}
	require.NoError(t, sqlstore.Explain(nil, hint))
}
