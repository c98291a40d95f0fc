package oauthflow_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/oauthflow"
)

// every prints v in every way a program might.
func every(v any) string {
	var b bytes.Buffer
	_, _ = fmt.Fprintf(&b, "%v %+v %#v %s %q", v, v, v, v, v)
	if j, err := json.Marshal(v); err == nil {
		b.Write(j)
	}
	slog.New(slog.NewTextHandler(&b, nil)).Info("x", "v", v)
	slog.New(slog.NewJSONHandler(&b, nil)).Info("x", "v", v)
	return b.String()
}

func requireClean(t *testing.T, err error) {
	t.Helper()
	for _, e := range chain(err) {
		assertClean(t, every(e))
	}
}

func assertClean(t *testing.T, text string) {
	t.Helper()
	assert.NotContains(t, text, "canary")
	assert.NotContains(t, text, base64.StdEncoding.EncodeToString([]byte("client+id%3A1:"))[:18])
}

// A provider that quotes everything it was sent, in every place a client might show.
func TestNothingThatWasSentIsInAnError(t *testing.T) {
	quoting := func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		form, _ := url.ParseQuery(string(body))
		quote := fmt.Sprintf("%s %s %s %s %s %s %s", form.Get("refresh_token"), form.Get("code"), form.Get("code_verifier"),
			form.Get("client_secret"), r.Header.Get("Authorization"), body, r.URL.RawQuery)
		split := strings.ReplaceAll(quote, "canary", "can\x00ary") // joined again by whoever drops NULs
		w.Header().Set("Content-Type", "text/"+form.Get("code"))
		w.Header().Set("Location", "https://"+form.Get("code")+".example/"+quote)
		status := map[string]int{"200": 200, "302": 302, "400": 400, "html": 200}[r.URL.Query().Get("status")]
		w.WriteHeader(status)
		if r.URL.Query().Get("status") == "html" {
			_, _ = fmt.Fprintf(w, "<html>%s</html>", quote)
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]string{
			"error": form.Get("code") + quote, "suberror": quote, "error_description": split + quote, "error_uri": quote,
		})
	}
	for _, auth := range []oauthflow.ClientAuth{oauthflow.AuthPost, oauthflow.AuthBasic} {
		for _, status := range []string{"200", "302", "400", "html"} {
			t.Run(string(auth)+" "+status, func(t *testing.T) {
				bothWays(t, quoting, func(t *testing.T, r *oauthflow.Requester, c *oauthflow.Client) {
					c.ClientAuth = auth
					c.TokenURL += "?key=canary-key-in-the-url&status=" + status
					_, err := r.Do(t.Context(), oauthflow.TokenRequest{Client: c, Params: url.Values{
						"grant_type": {"authorization_code"}, "code": {canaryCode}, "code_verifier": {canaryVerify},
						"refresh_token": {canaryRefresh},
					}})
					_ = tokenError(t, err)
				})
			})
		}
	}
}

// A description that is mostly one long secret: cutting it before cleaning it
// would leave a piece that no longer looks like the secret.
func TestLongQuotedSecretIsNotCutInPieces(t *testing.T) {
	long := strings.Repeat("canary-", 3000)
	body, _ := json.Marshal(map[string]string{"error": "invalid_grant", "error_description": "bad token " + long})
	bothWays(t, reply(400, "application/json", string(body)), func(t *testing.T, r *oauthflow.Requester, c *oauthflow.Client) {
		req := refreshRequest(c)
		req.Params.Set("refresh_token", long)
		_, err := r.Do(t.Context(), req)
		e := tokenError(t, err)
		assert.Equal(t, "bad token [REDACTED]", e.Description)
	})
}

// Transports put URLs, and sometimes whole requests, into their errors.
func TestTransportErrorsAreCleaned(t *testing.T) {
	const query = "?key=canary-key-in-the-url"
	inner := errors.New("connection lost")
	for name, fail := range map[string]func(*http.Request, string) error{
		"url.Error": func(r *http.Request, _ string) error {
			return &url.Error{Op: "Post", URL: r.URL.String(), Err: inner}
		},
		"url.Error inside": func(r *http.Request, _ string) error {
			return fmt.Errorf("middleware: %w", &url.Error{Op: "Post", URL: r.URL.String(), Err: io.ErrUnexpectedEOF})
		},
		"the body":   func(_ *http.Request, body string) error { return errors.New("cannot send " + body) },
		"the header": func(r *http.Request, _ string) error { return errors.New(r.Header.Get("Authorization")) },
		"a proxy": func(*http.Request, string) error {
			return errors.New(`invalid proxy address "http://user:canary@proxy:1"`)
		},
		"harmless": func(*http.Request, string) error { return inner },
	} {
		t.Run(name, func(t *testing.T) {
			r := &oauthflow.Requester{Transport: roundTripFunc(func(r *http.Request) (*http.Response, error) {
				body, err := io.ReadAll(r.Body)
				require.NoError(t, err)
				return nil, fail(r, string(body))
			})}
			c := wireClient("https://provider.example")
			c.ClientAuth = oauthflow.AuthBasic
			c.TokenURL += query
			_, err := r.Do(t.Context(), refreshRequest(c))
			e := tokenError(t, err)
			assert.Equal(t, oauthflow.ClassUnknown, e.Class)
			switch name {
			case "url.Error", "harmless":
				assert.ErrorIs(t, err, inner)
			case "url.Error inside":
				assert.ErrorIs(t, err, io.ErrUnexpectedEOF, "cleaned, and still the same error to errors.Is")
			}
		})
	}
}

func TestRequestsAndRepliesPrintNothing(t *testing.T) {
	req := refreshRequest(wireClient("https://provider.example"))
	assertClean(t, every(req))
	assertClean(t, every(&req))

	body := `{"access_token":"canary-at","refresh_token":"canary-rt","id_token":"canary-id","nested":{"x":"canary"}}`
	bothWays(t, reply(200, "application/json", body), func(t *testing.T, r *oauthflow.Requester, c *oauthflow.Client) {
		got, err := r.Do(t.Context(), refreshRequest(c))
		require.NoError(t, err)
		assert.Equal(t, "canary-at", got.AccessToken.Reveal())
		for _, text := range []string{every(got), every(*got), every(struct{ R any }{got})} {
			assertClean(t, text)
		}
	})
}
