package integrations_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/integrations"
)

// create stores a definition like the ones from code.
func (w *world) create(t testing.TB, d integrations.Definition) integrations.Status {
	t.Helper()
	st, err := w.Create(t.Context(), d, "root")
	require.NoError(t, err)
	return st
}

func owned(name, org string) integrations.Definition {
	d := definition(name)
	d.Org = org
	return d
}
