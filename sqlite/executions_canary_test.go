package sqlite_test

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/internal/scope"
	"github.com/bifrost-go/bifrost/sqlite"
	"github.com/bifrost-go/bifrost/workflow"
)

// What a run resolved is nowhere in the files, however the run tried to have it
// stored.
func TestExecutionsHoldNoSecret(t *testing.T) {
	const secret = `canary/5eb1+2f"c0`
	quoted, err := json.Marshal(secret)
	require.NoError(t, err)
	forms := map[string]string{
		"raw": secret, "JSON": strings.Trim(string(quoted), `"`), "query": url.QueryEscape(secret), "path": url.PathEscape(secret),
		"base64": base64.StdEncoding.EncodeToString([]byte(secret)), "base64 raw": base64.RawStdEncoding.EncodeToString([]byte(secret)),
		"base64 url": base64.URLEncoding.EncodeToString([]byte(secret)), "base64 url raw": base64.RawURLEncoding.EncodeToString([]byte(secret)),
		"base64 inside": base64.StdEncoding.EncodeToString([]byte("ab" + secret))[3:22],
		"hex":           hex.EncodeToString([]byte(secret)),
	}
	path := filepath.Join(t.TempDir(), "bifrost.db")
	db, err := sqlite.Open(path)
	require.NoError(t, err)
	r, err := workflow.New(workflow.Config{Store: db.Executions(), Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	type in struct {
		How  string `json:"how"`
		Form string `json:"form"`
	}
	w := workflow.MustRegister(r, "leak", func(ctx context.Context, in in) (any, error) {
		scope.RunFrom(ctx).Redact(secret)
		text := forms[in.Form]
		if in.Form == "base64 inside" {
			text = base64.StdEncoding.EncodeToString([]byte("ab" + secret))
		}
		text = "visible " + text
		workflow.Logger(ctx).With("k", text).Info(text, "err", errors.New(text), text, text) //nolint:sloglint // the careless caller
		switch in.How {
		case "error":
			return nil, errors.New(text)
		case "panic":
			panic(text)
		}
		return map[string]any{text: []string{text}}, nil
	})
	require.NoError(t, r.Start(t.Context()))
	for form := range forms {
		for _, how := range []string{"result", "error", "panic"} {
			ex, err := w.Execute(t.Context(), "org-1", in{how, form})
			require.NoError(t, err)
			_, err = ex.Result(t.Context())
			assert.Equal(t, how == "result", err == nil, "%v", err)
			for name, text := range forms {
				assert.NotContains(t, fmt.Sprint(err), text, name)
			}
		}
	}
	check := func() {
		t.Helper()
		visible := 0
		for _, name := range []string{path, path + "-wal", path + "-shm"} {
			content, err := os.ReadFile(name)
			if err != nil {
				require.ErrorIs(t, err, os.ErrNotExist)
				continue
			}
			visible += strings.Count(string(content), "visible [REDACTED]")
			for form, text := range forms {
				assert.NotContains(t, string(content), text, "%s: %s", filepath.Base(name), form)
			}
		}
		assert.Greater(t, visible, 3*len(forms), "the search does find what is not secret")
	}
	check()
	require.NoError(t, r.Close())
	require.NoError(t, db.Close())
	check()
}
