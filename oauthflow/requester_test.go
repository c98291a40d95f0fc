package oauthflow_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/oauthflow"
	"github.com/bifrost-go/bifrost/tokenstore"
)

// What is sent, by each way of client authentication: exactly this and no more.
func TestRequests(t *testing.T) {
	credentials := url.Values{"client_id": {"client id:1"}, "client_secret": {canarySecret}}
	grant := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {canaryRefresh}}
	tests := map[string]struct {
		client  func(*oauthflow.Client)
		request func(*oauthflow.TokenRequest)
		url     string // default /token
		form    []url.Values
		basic   bool
	}{
		"post by default": {form: []url.Values{grant, credentials}},
		"post":            {client: func(c *oauthflow.Client) { c.ClientAuth = oauthflow.AuthPost }, form: []url.Values{grant, credentials}},
		"basic":           {client: func(c *oauthflow.Client) { c.ClientAuth = oauthflow.AuthBasic }, form: []url.Values{grant}, basic: true},
		"public": {
			client: func(c *oauthflow.Client) { c.ClientAuth = oauthflow.AuthNone },
			form:   []url.Values{grant, {"client_id": {"client id:1"}}},
		},
		"no empty secret": {
			client: func(c *oauthflow.Client) { c.ClientSecret = tokenstore.Secret{} },
			form:   []url.Values{grant, {"client_id": {"client id:1"}}},
		},
		"refresh URL and parameters": {
			client: func(c *oauthflow.Client) {
				c.RefreshURL = strings.Replace(c.TokenURL, "/token", "/refresh/{entity_id}?a=b", 1)
				c.TokenParams, c.RefreshParams = url.Values{"audience": {"no"}}, url.Values{"audience": {"yes"}, "grant_type": {"special"}}
			},
			request: func(r *oauthflow.TokenRequest) { r.EntityID = "T" },
			url:     "/refresh/T?a=b",
			form:    []url.Values{grant, credentials, {"audience": {"yes"}, "grant_type": {"special"}}},
		},
		"token URL and parameters": {
			client: func(c *oauthflow.Client) {
				c.RefreshURL = "https://never.example/"
				c.TokenParams, c.RefreshParams = url.Values{"audience": {"yes"}}, url.Values{"audience": {"no"}}
			},
			request: func(r *oauthflow.TokenRequest) { r.Refresh = false },
			form:    []url.Values{grant, credentials, {"audience": {"yes"}}},
		},
		"what is asked for stands against parameters": {
			client: func(c *oauthflow.Client) {
				c.RefreshParams = url.Values{"scope": {"usual"}, "audience": {"usual"}}
			},
			request: func(r *oauthflow.TokenRequest) { r.Params.Set("scope", "other") },
			form:    []url.Values{grant, credentials, {"scope": {"other"}, "audience": {"usual"}}},
		},
		"what the protocol sets stays": {
			client: func(c *oauthflow.Client) {
				c.RefreshParams = url.Values{"refresh_token": {"x"}, "client_secret": {"x"}, "client_id": {"x"}}
			},
			form: []url.Values{grant, credentials},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			want := url.Values{}
			for _, part := range tt.form {
				for name, values := range part {
					want[name] = values
				}
			}
			if tt.url == "" {
				tt.url = "/token"
			}
			h := func(w http.ResponseWriter, r *http.Request) {
				assert.Equal(t, http.MethodPost, r.Method)
				assert.Equal(t, tt.url, r.URL.RequestURI())
				assert.Equal(t, "application/json", r.Header.Get("Accept"))
				assert.Equal(t, "application/x-www-form-urlencoded", r.Header.Get("Content-Type"))
				body, err := io.ReadAll(r.Body)
				assert.NoError(t, err)
				form, err := url.ParseQuery(string(body))
				assert.NoError(t, err)
				assert.Equal(t, want, form)
				id, secret, ok := r.BasicAuth()
				assert.Equal(t, tt.basic, ok)
				if tt.basic { // form-encoded (RFC 6749 §2.3.1): the colon in the id is why
					assert.Equal(t, url.QueryEscape("client id:1"), id)
					assert.Equal(t, url.QueryEscape(canarySecret), secret)
				}
				reply(200, jsonType, `{"access_token":"A"}`)(w, r)
			}
			bothWays(t, h, func(t *testing.T, r *oauthflow.Requester, c *oauthflow.Client) {
				req := refreshRequest(c)
				if tt.client != nil {
					tt.client(c)
				}
				if tt.request != nil {
					tt.request(&req)
				}
				before := maps.Clone(req.Params)
				_, err := r.Do(t.Context(), req)
				require.NoError(t, err)
				assert.Equal(t, before, req.Params, "the caller's parameters are not changed")
			})
		})
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	var followed atomic.Int32
	other := newCounter(t, nil)
	for _, status := range []int{301, 302, 303, 307, 308} {
		for name, location := range map[string]string{
			"another host": "http://" + other.Addr().String() + "/token", "same host": "/followed",
			"no location": "", "a hostile one": "http://<canary>@canary/ü",
		} {
			t.Run(fmt.Sprint(status, " ", name), func(t *testing.T) {
				server := newServer(t, func(w http.ResponseWriter, r *http.Request) {
					if r.URL.Path == "/followed" {
						followed.Add(1)
					}
					w.Header()["Location"] = []string{location}
					w.WriteHeader(status)
				})
				_, err := (&oauthflow.Requester{}).Do(t.Context(), refreshRequest(wireClient(server.URL)))
				e := tokenError(t, err)
				assert.Equal(t, oauthflow.ClassUnknown, e.Class)
				assert.Equal(t, status, e.Status)
				assert.Contains(t, e.Detail, "never followed")
				if name == "another host" {
					assert.Contains(t, e.Detail, " to "+other.Addr().String())
				}
			})
		}
	}
	conns, bytes := other.finish()
	assert.Zero(t, conns)
	assert.Empty(t, bytes)
	assert.Zero(t, followed.Load())
}

// Failures before the first byte: certainly not processed.
func TestNotSent(t *testing.T) {
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	_ = closed.Close()
	untrusted := httptest.NewTLSServer(http.NotFoundHandler())
	untrusted.Config.ErrorLog = quiet
	defer untrusted.Close()
	plain := newServer(t, func(http.ResponseWriter, *http.Request) { t.Error("a request over plain text") })
	silent, err := net.Listen("tcp", "127.0.0.1:0") // the kernel accepts, nobody answers
	require.NoError(t, err)
	defer func() { _ = silent.Close() }()

	for name, tt := range map[string]struct {
		url  string
		want string
	}{
		"refused":               {"http://" + closed.Addr().String(), "refused"},
		"no such host":          {"https://nothing.invalid", ""},
		"untrusted certificate": {untrusted.URL, "certificate"},
		"not TLS":               {strings.Replace(plain.URL, "http://", "https://", 1), ""},
		"TLS without an answer": {"https://" + silent.Addr().String(), "no connection within 500ms"},
	} {
		t.Run(name, func(t *testing.T) {
			req := refreshRequest(wireClient(tt.url))
			req.Gate = func() error { t.Error("the gate was asked"); return nil }
			_, err := (&oauthflow.Requester{Timeout: 500 * time.Millisecond}).Do(t.Context(), req)
			e := tokenError(t, err)
			assert.False(t, e.Sent)
			assert.Equal(t, oauthflow.ClassTransient, e.Class)
			assert.Zero(t, e.Status)
			assert.ErrorContains(t, err, "the request was not sent")
			assert.ErrorContains(t, err, tt.want)
		})
	}
}

// Failures after the first byte: nobody knows.
func TestOutcomeUnknown(t *testing.T) {
	hijack := func(w http.ResponseWriter, answer string) {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err == nil {
			_, _ = io.WriteString(conn, answer)
			_ = conn.Close()
		}
	}
	trickle := func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			_, _ = io.WriteString(w, " ")
			_ = http.NewResponseController(w).Flush()
			select {
			case <-r.Context().Done():
			case <-time.After(20 * time.Millisecond):
			}
		}
	}
	for name, tt := range map[string]struct {
		h      http.HandlerFunc
		status int
		is     error
	}{
		"closed without an answer": {func(w http.ResponseWriter, _ *http.Request) { hijack(w, "") }, 0, io.EOF},
		"reset":                    {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, 0, io.EOF},
		"a body without a header":  {func(w http.ResponseWriter, _ *http.Request) { hijack(w, `{"access_token":"canary"}`+"\r\n\r\n") }, 0, nil},
		"tokens in the header":     {func(w http.ResponseWriter, _ *http.Request) { hijack(w, "HTTP/1.1 200 OK\r\n{\"canary\\\"\"}\r\n\r\n") }, 0, nil},
		"tokens for a length": {func(w http.ResponseWriter, _ *http.Request) {
			hijack(w, "HTTP/1.1 200 OK\r\nContent-Length: canary\r\n\r\n")
		}, 0, nil},
		"not HTTP": {func(w http.ResponseWriter, _ *http.Request) { hijack(w, "SSH-2.0-canary\r\n\r\n") }, 0, nil},
		"silence":  {func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, 0, context.DeadlineExceeded},
		"headers, then silence": {func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(200)
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		}, 200, context.DeadlineExceeded},
		"one byte at a time": {trickle, 200, context.DeadlineExceeded},
		"cut": {func(w http.ResponseWriter, _ *http.Request) {
			hijack(w, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"access_token\":\"canary\"")
		}, 200, io.ErrUnexpectedEOF},
		"cut 400": {func(w http.ResponseWriter, _ *http.Request) {
			hijack(w, "HTTP/1.1 400 Bad\r\nContent-Length: 100\r\n\r\n{\"err")
		}, 400, io.ErrUnexpectedEOF},
		"cut form": {func(w http.ResponseWriter, _ *http.Request) {
			hijack(w, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\naccess_token=canary&refresh_token=cana")
		}, 200, io.ErrUnexpectedEOF},
		"huge header": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X", strings.Repeat("canary", 100_000))
		}, 0, nil},
	} {
		t.Run(name, func(t *testing.T) {
			server := newServer(t, tt.h)
			server.Config.ErrorLog = quiet
			got, err := (&oauthflow.Requester{Timeout: 500 * time.Millisecond}).Do(t.Context(), refreshRequest(wireClient(server.URL)))
			assert.Nil(t, got)
			e := tokenError(t, err)
			assert.True(t, e.Sent)
			assert.Equal(t, oauthflow.ClassUnknown, e.Class)
			assert.Equal(t, tt.status, e.Status)
			if tt.is != nil {
				assert.ErrorIs(t, err, tt.is)
			}
		})
	}
}

// A connection that breaks between the two tokens of a rotation and after them.
func TestBrokenReplyKeepsTheNewRefreshToken(t *testing.T) {
	server := newServer(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "1000")
		_, _ = io.WriteString(w, `{"refresh_token":"R2","access_token":"cana`)
	})
	got, err := (&oauthflow.Requester{}).Do(t.Context(), refreshRequest(wireClient(server.URL)))
	e := tokenError(t, err)
	assert.Equal(t, oauthflow.ClassUnknown, e.Class)
	require.NotNil(t, got)
	assert.Equal(t, "R2", got.RefreshToken.Reveal())
	assert.True(t, got.AccessToken.IsZero())
}

func TestRequestsThatCannotBeBuilt(t *testing.T) {
	r := &oauthflow.Requester{Transport: roundTripFunc(func(*http.Request) (*http.Response, error) {
		t.Error("a request")
		return nil, errors.New("no")
	})}
	for name, tt := range map[string]struct {
		url, entity string
		class       oauthflow.Class
		want        string
	}{
		"no entity id":      {"https://example.com/{entity_id}", "", oauthflow.ClassOperator, "TokenURL contains {entity_id}, but there is no entity id: set Definition.DefaultEntityID"},
		"hostile entity id": {"https://{entity_id}.example.com/", "canary.evil.com/", oauthflow.ClassConfiguration, "TokenURL cannot take this value of entity_id"},
		"bad template":      {"http://example.com/", "x", oauthflow.ClassOperator, "TokenURL begins with http://"},
		"no value":          {"https://{region}.example.com/", "x", oauthflow.ClassOperator, "TokenURL contains {region}, but it has no value: set the config value region"},
		"hostile value":     {"https://{zone}.example.com/", "x", oauthflow.ClassConfiguration, "TokenURL cannot take this value of zone"},
		"no URL":            {"", "x", oauthflow.ClassOperator, "TokenURL is empty"},
	} {
		t.Run(name, func(t *testing.T) {
			req := refreshRequest(wireClient("https://provider.example"))
			req.Client.TokenURL, req.EntityID = tt.url, tt.entity
			req.Client.Variables = kinds("region", oauthflow.Label, "zone", oauthflow.Label)
			req.Values = map[string]string{"zone": "canary.evil.com"}
			req.Gate = func() error { t.Error("the gate was asked"); return nil }
			_, err := r.Do(t.Context(), req)
			e := tokenError(t, err)
			assert.Equal(t, tt.class, e.Class)
			assert.False(t, e.Sent)
			require.ErrorContains(t, err, tt.want)
			var template *oauthflow.TemplateError
			assert.ErrorAs(t, err, &template)
		})
	}
	_, err := r.Do(t.Context(), oauthflow.TokenRequest{})
	assert.Equal(t, oauthflow.ClassOperator, tokenError(t, err).Class)
}

func TestRevoke(t *testing.T) {
	token := tokenstore.NewSecret(canaryRefresh)
	for name, tt := range map[string]struct {
		status int
		body   string
		want   oauthflow.Class // empty: no error
		is     error
	}{
		"revoked":             {status: 200},
		"with any body":       {status: 200, body: `{"error":"invalid_grant"}`},
		"no content":          {status: 204},
		"unsupported type":    {status: 400, body: `{"error":"unsupported_token_type"}`, is: oauthflow.ErrNoRevocation},
		"wrong client":        {status: 401, body: `{"error":"invalid_client"}`, want: oauthflow.ClassOperator},
		"overloaded":          {status: 503, want: oauthflow.ClassTransient},
		"redirect":            {status: 307, want: oauthflow.ClassUnknown},
		"something else":      {status: 404, body: "<html>", want: oauthflow.ClassUnclassified},
		"server error, empty": {status: 500, want: oauthflow.ClassUnknown},
	} {
		t.Run(name, func(t *testing.T) {
			h := func(w http.ResponseWriter, r *http.Request) {
				assert.Equal(t, "/revoke", r.URL.Path)
				assert.NoError(t, r.ParseForm())
				assert.Equal(t, url.Values{"token": {canaryRefresh}, "token_type_hint": {"refresh_token"},
					"client_id": {"client id:1"}, "client_secret": {canarySecret}}, r.PostForm)
				w.WriteHeader(tt.status)
				if tt.status != 204 {
					_, _ = io.WriteString(w, tt.body)
				}
			}
			bothWays(t, h, func(t *testing.T, r *oauthflow.Requester, c *oauthflow.Client) {
				c.RevocationURL = strings.Replace(c.TokenURL, "/token", "/revoke", 1)
				c.TokenParams = url.Values{"audience": {"for tokens only"}}
				err := r.Revoke(t.Context(), oauthflow.RevocationRequest{Client: c, Token: token, Hint: "refresh_token"})
				switch {
				case tt.is != nil:
					require.ErrorIs(t, err, tt.is)
				case tt.want == "":
					require.NoError(t, err)
				default:
					assert.Equal(t, tt.want, tokenError(t, err).Class)
				}
			})
		})
	}
	r, c := &oauthflow.Requester{}, wireClient("https://provider.example")
	require.ErrorIs(t, r.Revoke(t.Context(), oauthflow.RevocationRequest{Client: c, Token: token}), oauthflow.ErrNoRevocation)
	c.RevocationURL = "https://provider.example/{entity_id}"
	require.NoError(t, r.Revoke(t.Context(), oauthflow.RevocationRequest{Client: c}), "no token, nothing to do")
	err := r.Revoke(t.Context(), oauthflow.RevocationRequest{Client: c, Token: token})
	assert.ErrorContains(t, err, "RevocationURL contains {entity_id}")
	assert.False(t, tokenError(t, err).Sent)
}
