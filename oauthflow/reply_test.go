package oauthflow_test

import (
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/oauthflow"
)

const jsonType = "application/json"

// Replies that are a success. want holds what the reply must say.
func TestReplies(t *testing.T) {
	type want struct {
		access, refresh, tokenType string
		lifetime                   time.Duration
		expires                    time.Time
		scopes                     []string
		extra                      string // as JSON
	}
	long := strings.Repeat("x", 16<<10)
	noon := time.Date(2031, 5, 6, 12, 0, 0, 0, time.UTC)
	tests := []struct {
		name      string
		mediaType string // default JSON
		body      string
		provider  func(*oauthflow.Provider)
		want      want
	}{
		{name: "plain", body: `{"access_token":"A","token_type":"Bearer","expires_in":3600,"refresh_token":"R","scope":"a b"}`,
			want: want{access: "A", refresh: "R", lifetime: time.Hour, scopes: []string{"a", "b"}}},
		{name: "status 201 is a success too", body: `{"access_token":"A"}`, want: want{access: "A"}},

		{name: "no refresh token", body: `{"access_token":"A"}`, want: want{access: "A"}},
		{name: "empty refresh token", body: `{"access_token":"A","refresh_token":""}`, want: want{access: "A"}},
		{name: "null refresh token", body: `{"access_token":"A","refresh_token":null}`, want: want{access: "A"}},
		{name: "refresh token of 16 KiB", body: `{"access_token":"A","refresh_token":"` + long + `"}`, want: want{access: "A", refresh: long}},

		{name: "lower-case token type", body: `{"access_token":"A","token_type":"bearer"}`, want: want{access: "A"}},
		{name: "upper-case token type", body: `{"access_token":"A","token_type":"BEARER"}`, want: want{access: "A"}},
		{name: "other token type", body: `{"access_token":"A","token_type":"DPoP"}`, want: want{access: "A", tokenType: "DPoP"}},
		{name: "token type null", body: `{"access_token":"A","token_type":null}`, want: want{access: "A"}},
		{name: "token type that is no string", body: `{"access_token":"A","token_type":7}`, want: want{access: "A"}},

		{name: "scopes by comma", body: `{"access_token":"A","scope":"a,b, c"}`, want: want{access: "A", scopes: []string{"a", "b", "c"}}},
		{name: "scopes as array", body: `{"access_token":"A","scope":["a","b c",7]}`, want: want{access: "A", scopes: []string{"a", "b", "c"}}},
		{name: "scopes twice", body: `{"access_token":"A","scope":"b a b"}`, want: want{access: "A", scopes: []string{"b", "a"}}},
		{name: "no scopes", body: `{"access_token":"A","scope":""}`, want: want{access: "A", scopes: []string{}}},
		{name: "scope null", body: `{"access_token":"A","scope":null}`, want: want{access: "A"}},
		{name: "scope that is an object", body: `{"access_token":"A","scope":{"a":true}}`, want: want{access: "A"}},

		{name: "form", mediaType: "application/x-www-form-urlencoded", body: "access_token=A%2B&expires_in=60&refresh_token=R&scope=a%20b+c&team=1",
			want: want{access: "A+", refresh: "R", lifetime: time.Minute, scopes: []string{"a", "b", "c"}, extra: `{"team":"1"}`}},
		{name: "form sent as plain text", mediaType: "text/plain; charset=utf-8", body: "access_token=A\n", want: want{access: "A"}},
		{name: "form sent as HTML", mediaType: "text/html", body: "token_type=bearer&access_token=A", want: want{access: "A"}},
		{name: "form sent as JSON", mediaType: jsonType, body: "access_token=A&access_token=B&junk&x=%zz&", want: want{access: "B"}},
		{name: "form with escaped names", body: "user%5Bid%5D=7&access%5Ftoken=A&refresh_token=R&user%5Brefresh_token%5D=R9",
			want: want{access: "A", refresh: "R", extra: `{"user[id]":"7"}`}},
		{name: "form with names that are none", body: "as:x=1&%zz=1&a+b=1&=1&access_token=A&refresh_token=R&%00=1&<b>=1",
			want: want{access: "A", refresh: "R", extra: `{}`}},
		{name: "JSON sent as plain text", mediaType: "text/plain", body: `{"access_token":"A"}`, want: want{access: "A"}},
		{name: "JSON sent as a form", mediaType: "application/x-www-form-urlencoded", body: `{"access_token":"A=&b=c"}`, want: want{access: "A=&b=c"}},
		{name: "JSON with a byte order mark and space", body: "\ufeff \r\n {\"access_token\":\"A\"} \n", want: want{access: "A"}},
		{name: "JSON with something behind it", body: `{"access_token":"A"}<!-- served by web7 -->`, want: want{access: "A"}},
		{name: "JSON with a media type that is none", mediaType: ";;;", body: `{"access_token":"A"}`, want: want{access: "A"}},

		{name: "last duplicate wins", body: `{"access_token":"1","refresh_token":"1","refresh_token":"R","access_token":"A"}`, want: want{access: "A", refresh: "R"}},
		{name: "names are exact", body: `{"access_token":"A","Access_Token":"B","ACCESS_TOKEN":"C","Refresh_Token":"D","Expires_In":9}`,
			want: want{access: "A", extra: `{"Access_Token":"B","ACCESS_TOKEN":"C","Refresh_Token":"D","Expires_In":9}`}},
		{name: "escaped names are the same names", body: `{"access\u005ftoken":"A"}`, want: want{access: "A"}},
		{name: "error members that say there is none", body: `{"access_token":"A","error":null,"ok":true}`,
			want: want{access: "A", extra: `{"error":null,"ok":true}`}},

		{name: "extra members", body: `{"access_token":"A","refresh_token":"R","id_token":"x.y.z","instance_url":"https://i","team":{"id":"T"},"n":12345678901234567890}`,
			want: want{access: "A", refresh: "R", extra: `{"id_token":"x.y.z","instance_url":"https://i","team":{"id":"T"},"n":12345678901234567890}`}},
		{name: "other grants' refresh tokens are not extra", body: `{"access_token":"A","team":{"id":"T","bots":[{"refresh_token":"R9","n":1.50}]}}`,
			want: want{access: "A", extra: `{"team":{"id":"T","bots":[{"n":1.50}]}}`}},

		{name: "nested by root", body: `{"data":{"token":{"access_token":"A","refresh_token":"R","expires_in":60,"scope":"a","openid":"o"}},"code":0}`,
			provider: func(p *oauthflow.Provider) { p.Response.Root = "data.token" },
			want:     want{access: "A", refresh: "R", lifetime: time.Minute, scopes: []string{"a"}, extra: `{"data":{"token":{"openid":"o"}},"code":0}`}},
		{name: "nested member by member", body: `{"ok":true,"access_token":"bot","refresh_token":"bot-r","authed_user":{"id":"U","access_token":"A","refresh_token":"R","scope":"a,b","expires_in":"60"}}`,
			provider: func(p *oauthflow.Provider) {
				p.Response = oauthflow.ResponseMapping{AccessToken: "authed_user.access_token", RefreshToken: "authed_user.refresh_token",
					Scope: "authed_user.scope", ExpiresIn: "authed_user.expires_in"}
			},
			want: want{access: "A", refresh: "R", lifetime: time.Minute, scopes: []string{"a", "b"},
				extra: `{"ok":true,"access_token":"bot","authed_user":{"id":"U"}}`}},

		{name: "absolute expiry in seconds", body: `{"access_token":"A","expires_at":1935835200}`,
			provider: func(p *oauthflow.Provider) { p.Response.ExpiresAt = "expires_at" }, want: want{access: "A", expires: noon}},
		{name: "absolute expiry in milliseconds", body: `{"access_token":"A","expires_at":"1935835200000"}`,
			provider: func(p *oauthflow.Provider) { p.Response.ExpiresAt = "expires_at" }, want: want{access: "A", expires: noon}},
		{name: "absolute expiry by RFC 3339", body: `{"access_token":"A","meta":{"until":"2031-05-06T14:00:00+02:00"}}`,
			provider: func(p *oauthflow.Provider) { p.Response.ExpiresAt = "meta.until" }, want: want{access: "A", expires: noon, extra: `{"meta":{}}`}},
		{name: "absolute expiry that nobody named", body: `{"access_token":"A","expires_at":1935835200}`,
			want: want{access: "A", extra: `{"expires_at":1935835200}`}},
		{name: "absurd absolute expiry", body: `{"access_token":"A","expires_at":1e40}`,
			provider: func(p *oauthflow.Provider) { p.Response.ExpiresAt = "expires_at" }, want: want{access: "A"}},
		{name: "absolute expiry that is a word", body: `{"access_token":"A","expires_at":"soon"}`,
			provider: func(p *oauthflow.Provider) { p.Response.ExpiresAt = "expires_at"; p.DefaultLifetime = time.Minute },
			want:     want{access: "A", lifetime: time.Minute}},

		{name: "default lifetime", body: `{"access_token":"A"}`,
			provider: func(p *oauthflow.Provider) { p.DefaultLifetime = time.Minute }, want: want{access: "A", lifetime: time.Minute}},
		{name: "default lifetime not needed", body: `{"access_token":"A","expires_in":-5}`,
			provider: func(p *oauthflow.Provider) { p.DefaultLifetime = time.Minute }, want: want{access: "A", lifetime: -5 * time.Second}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			status, mediaType := 200, jsonType
			if strings.Contains(tt.name, "201") {
				status = 201
			}
			if tt.mediaType != "" {
				mediaType = tt.mediaType
			}
			bothWays(t, reply(status, mediaType, tt.body), func(t *testing.T, r *oauthflow.Requester, c *oauthflow.Client) {
				if tt.provider != nil {
					tt.provider(&c.Provider)
				}
				got, err := r.Do(t.Context(), refreshRequest(c))
				require.NoError(t, err)
				assert.Equal(t, tt.want.access, got.AccessToken.Reveal())
				assert.Equal(t, tt.want.refresh, got.RefreshToken.Reveal())
				if tt.want.tokenType == "" {
					tt.want.tokenType = "Bearer"
				}
				assert.Equal(t, tt.want.tokenType, got.TokenType)
				assert.Equal(t, tt.want.lifetime, got.Lifetime)
				assert.True(t, tt.want.expires.Equal(got.ExpiresAt), "%v", got.ExpiresAt)
				assert.Equal(t, tt.want.scopes, got.Scopes)
				if tt.want.extra != "" {
					extra, err := json.Marshal(got.Extra)
					require.NoError(t, err)
					assert.JSONEq(t, tt.want.extra, string(extra))
				}
				assert.NotContains(t, fmt.Sprint(got.Extra), "R9")
				assert.WithinDuration(t, time.Now(), got.ReceivedAt, time.Minute)
			})
		})
	}
}

// The values of expires_in, each as JSON, and what they mean. Zero is unknown.
func TestLifetimes(t *testing.T) {
	for in, want := range map[string]time.Duration{
		`3600`: time.Hour, `"3600"`: time.Hour, `3600.0`: time.Hour, `3.6e3`: time.Hour, `"3600.5"`: time.Hour, `" 3600 "`: time.Hour,
		`3600.99`: time.Hour, `"3.6e3"`: time.Hour, `0.5`: time.Second, `1e-9`: time.Second,
		`null`: 0, `""`: 0, `0`: 0, `"0"`: 0, `true`: 0, `false`: 0, `"NaN"`: 0, `"Inf"`: 0, `"1h"`: 0, `"0x10"`: 0, `"1_0"`: 0, `[]`: 0, `{}`: 0, `[3600]`: 0, `"e"`: 0,
		`1e14`: 0, `1e40`: 0, `1e400`: 0, `"1e400"`: 0, `99999999999999999999999`: 0, `9223372036`: 0, `"` + strings.Repeat("9", 1000) + `"`: 0,
		`-1`: -time.Second, `"-1"`: -time.Second, `-3600`: -time.Hour, `-0.5`: -time.Second,
		`-1e40`: -100 * 365 * 24 * time.Hour, `-1e400`: -100 * 365 * 24 * time.Hour,
	} {
		t.Run(in[:min(len(in), 30)], func(t *testing.T) {
			bothWays(t, reply(200, jsonType, `{"access_token":"A","expires_in":`+in+`}`), func(t *testing.T, r *oauthflow.Requester, c *oauthflow.Client) {
				got, err := r.Do(t.Context(), refreshRequest(c))
				require.NoError(t, err)
				assert.Equal(t, want, got.Lifetime)
			})
		})
	}
}

// Replies with status 200 that are not usable. refresh is what must be kept.
func TestUnusableReplies(t *testing.T) {
	tests := []struct {
		name, mediaType, body string
		refresh               string
		detail                string
	}{
		{name: "no access token", body: `{"refresh_token":"canary-R"}`, refresh: "canary-R", detail: "no access token"},
		{name: "nothing at all", body: `{}`, detail: "no access token"},
		{name: "empty access token", body: `{"access_token":"","refresh_token":"canary-R"}`, refresh: "canary-R", detail: "no access token"},
		{name: "null access token", body: `{"access_token":null}`, detail: "no access token"},
		{name: "access token a number", body: `{"access_token":123,"refresh_token":"canary-R","scope":"a"}`, refresh: "canary-R", detail: "access token is not a string"},
		{name: "access token an array", body: `{"access_token":["canary"],"refresh_token":""}`, detail: "access token is not a string"},
		{name: "line break in the access token", body: `{"access_token":"canary\r\nX: y","refresh_token":"canary-R"}`, refresh: "canary-R", detail: "control characters"},
		{name: "NUL in the access token", body: `{"access_token":"canary\u0000"}`, detail: "control characters"},
		{name: "C1 control in the access token", body: `{"access_token":"canary\u0085"}`, detail: "control characters"},
		{name: "DEL in the refresh token", body: `{"access_token":"canary","refresh_token":"canary\u007f"}`, detail: "refresh token has control characters"},
		{name: "refresh token a number", body: `{"access_token":"canary","refresh_token":17}`, detail: "refresh token is not a string"},
		{name: "tab in the token type", body: `{"access_token":"canary","token_type":"Bea\trer","refresh_token":"canary-R"}`, refresh: "canary-R", detail: "token_type has control characters"},
		{name: "endless token type", body: `{"access_token":"canary","token_type":"` + strings.Repeat("x", 500) + `"}`, detail: "token_type is too long"},
		{name: "access token that is no Unicode", body: "{\"access_token\":\"canary\xff\"}", detail: "not Unicode"},
		{name: "half a surrogate", body: `{"access_token":"canary\ud800"}`, detail: "not Unicode"},
		{name: "case-folded names only", body: `{"Access_Token":"canary","REFRESH_TOKEN":"canary"}`, detail: "no access token"},

		{name: "HTML", mediaType: "text/html; charset=utf-8", body: `<html><a href="/?access_token=canary&b=c">`, detail: "no token reply"},
		{name: "garbage", mediaType: "application/octet-stream", body: "\x00\x01canary\xff", detail: "no token reply"},
		{name: "garbage with a hostile media type", mediaType: "canary\u202e<b>", body: "canary", detail: "no token reply"},
		{name: "garbage without a media type", mediaType: "", body: "canary", detail: "no token reply"},
		{name: "an array", body: `[{"access_token":"canary"}]`, detail: "no token reply"},
		{name: "a string", body: `"canary"`, detail: "no token reply"},
		{name: "an array with a form inside", body: `["/?a=b&refresh_token=canary&b=c"]`, detail: "no token reply"},
		{name: "HTML with a form inside", mediaType: "text/html", body: `<a href="/?a=b&refresh_token=canary&b=c">`, detail: "no token reply"},
		{name: "form without a plain name", body: "as:x=canary&a+b=canary", detail: "no token reply"},
		{name: "empty", body: "", detail: "no token reply"},
		{name: "broken before the tokens", body: `{canary`, detail: "broken"},
		{name: "braces that are no JSON, as HTML", mediaType: "text/html", body: `{canary`, detail: "broken"},
		{name: "JSON that is no token reply, as HTML", mediaType: "text/html", body: `{"foo":"canary"}`, detail: "no access token"},
		{name: "a pair that is no form, as HTML", mediaType: "text/html", body: `a=canary`, detail: "no access token"},
		{name: "broken after the access token", body: `{"access_token":"canary","refresh_token":"cana`, detail: "breaks off"},
		{name: "broken after both", body: `{"access_token":"canary","refresh_token":"canary-R","id_token":"cana`, refresh: "canary-R", detail: "breaks off"},
		{name: "broken in the middle", body: `{"access_token":"canary","refresh_token":"canary-R",}{`, refresh: "canary-R", detail: "broken"},
		{name: "too deep", body: `{"refresh_token":"canary-R","x":` + strings.Repeat("[", 20000), refresh: "canary-R", detail: "broken"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.mediaType == "" && !strings.Contains(tt.name, "without a media type") {
				tt.mediaType = jsonType
			}
			bothWays(t, reply(200, tt.mediaType, tt.body), func(t *testing.T, r *oauthflow.Requester, c *oauthflow.Client) {
				got, err := r.Do(t.Context(), refreshRequest(c))
				e := tokenError(t, err)
				assert.Equal(t, oauthflow.ClassUnknown, e.Class)
				assert.True(t, e.Sent)
				assert.Equal(t, 200, e.Status)
				assert.Contains(t, e.Detail, tt.detail)
				named, _, _ := strings.Cut(tt.mediaType, ";")
				if strings.Contains(tt.name, "hostile") || named == "" {
					named = "unknown"
				}
				assert.True(t, strings.HasSuffix(e.Detail, ", it has media type "+named), e.Detail)
				if tt.refresh == "" {
					assert.Nil(t, got)
					return
				}
				require.NotNil(t, got)
				assert.Equal(t, tt.refresh, got.RefreshToken.Reveal())
				assert.True(t, got.AccessToken.IsZero())
				assertClean(t, every(got))
			})
		})
	}
}

// Bodies without end: at most 1 MiB of them is read, and what came first counts.
func TestEndlessReplies(t *testing.T) {
	head := `{"access_token":"canary","refresh_token":"canary-R","padding":"`
	padding := []byte(strings.Repeat("x", 64<<10))
	pour := func(w io.Writer, head string, bytes int) {
		_, _ = io.WriteString(w, head)
		for written := 0; bytes < 0 || written < bytes; written += len(padding) {
			if _, err := w.Write(padding); err != nil {
				return
			}
		}
	}
	for name, h := range map[string]http.HandlerFunc{
		"200 MiB": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", fmt.Sprint(200<<20))
			pour(w, head, 200<<20-len(head))
		},
		"endless chunks": func(w http.ResponseWriter, _ *http.Request) { pour(w, head, -1) },
		"gzip bomb": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			zip := gzip.NewWriter(w)
			pour(zip, head, -1)
		},
		"form": func(w http.ResponseWriter, _ *http.Request) {
			pour(w, "access_token=canary&refresh_token=canary-R&refresh_token=", -1)
		},
	} {
		t.Run(name, func(t *testing.T) {
			server := newServer(t, h)
			start := time.Now()
			got, err := (&oauthflow.Requester{}).Do(t.Context(), refreshRequest(wireClient(server.URL)))
			e := tokenError(t, err)
			assert.Equal(t, oauthflow.ClassUnknown, e.Class)
			assert.ErrorContains(t, e, "1 MiB")
			require.NotNil(t, got)
			assert.Equal(t, "canary-R", got.RefreshToken.Reveal())
			assert.Less(t, time.Since(start), 10*time.Second)
		})
	}
}

func TestCompressedReplies(t *testing.T) {
	zipped := func(encoding string, truncate int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			var b strings.Builder
			zip := gzip.NewWriter(&b)
			_, _ = io.WriteString(zip, `{"access_token":"canary","refresh_token":"R"}`)
			_ = zip.Close()
			w.Header().Set("Content-Encoding", encoding)
			_, _ = io.WriteString(w, b.String()[:b.Len()-truncate])
		}
	}
	t.Run("gzip that was not asked for", func(t *testing.T) {
		bothWays(t, zipped("gzip", 0), func(t *testing.T, r *oauthflow.Requester, c *oauthflow.Client) {
			got, err := r.Do(t.Context(), refreshRequest(c))
			require.NoError(t, err)
			assert.Equal(t, "R", got.RefreshToken.Reveal())
		})
	})
	for name, h := range map[string]http.HandlerFunc{
		"broken gzip": zipped("gzip", 60), "no gzip": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = io.WriteString(w, `{"access_token":"canary"}`)
		},
		"another encoding": zipped("br", 0),
	} {
		t.Run(name, func(t *testing.T) {
			bothWays(t, h, func(t *testing.T, r *oauthflow.Requester, c *oauthflow.Client) {
				_, err := r.Do(t.Context(), refreshRequest(c))
				assert.Equal(t, oauthflow.ClassUnknown, tokenError(t, err).Class)
			})
		})
	}
}

// A reply of 1 MiB that is dear to read would stop everything else for its time.
func TestHostileRepliesAreCheap(t *testing.T) {
	const size = 1<<20 - 200
	var scopes strings.Builder
	for i := 0; scopes.Len() < size; i++ {
		_, _ = fmt.Fprintf(&scopes, "%x ", i)
	}
	deep := strings.Repeat(`{"refresh_token":1,"a":`, 9000) + "1" + strings.Repeat("}", 9000)
	for name, body := range map[string]string{
		"many scopes":  `{"access_token":"A","scope":"` + scopes.String() + `"}`,
		"many members": `{"access_token":"A"` + strings.Repeat(`,"a":1`, size/6) + `}`,
		"deep members": `{"access_token":"A","x":` + deep + `}`,
		"many pairs":   "access_token=A" + strings.Repeat("&a=1", size/4),
		"description":  `{"error":"x","error_description":"` + strings.Repeat("//a@", size/4) + `"}`,
	} {
		t.Run(name, func(t *testing.T) {
			r := &oauthflow.Requester{Transport: inProcess(reply(200, jsonType, body))}
			start := time.Now()
			_, err := r.Do(t.Context(), refreshRequest(wireClient("https://provider.example")))
			if name != "description" {
				require.NoError(t, err)
			}
			assert.Less(t, time.Since(start), time.Minute, "quadratic work takes many; the race detector alone makes 20 times as much of it")
		})
	}
}

func FuzzReply(f *testing.F) {
	for _, seed := range []string{
		`{"access_token":"A","token_type":"Bearer","expires_in":3600,"refresh_token":"R","scope":"a b","x":{"refresh_token":1}}`,
		`{"a":{"access_token":"A","refresh_token":"R"},"ok":false,"error":"invalid_grant","suberror":"x","error_description":"d"}`,
		"access_token=A&refresh_token=R&expires_in=1e400", "user%5Bid%5D=7&as:x=1&access%5Ftoken=A&refresh_token=R", `{"access_token":"A","expires_in":-1e9`, "<html>", "", `{"error":{"message":"m"}}`,
		`{"error":"` + canaryRefresh + `","error_description":"` + canaryRefresh[:5] + canaryRefresh + canaryRefresh[5:] + `"}`,
		`{"error":"x","error_description":"` + canarySecret[:4] + "\u202e" + canarySecret[4:] + `"}`,
	} {
		f.Add(200, jsonType, "", seed)
		f.Add(400, "text/html", "a", seed)
	}
	f.Fuzz(func(t *testing.T, status int, mediaType, root, body string) {
		if status < 100 || status > 999 {
			return
		}
		r := &oauthflow.Requester{Transport: roundTripFunc(func(req *http.Request) (*http.Response, error) {
			_, _ = io.Copy(io.Discard, req.Body)
			return &http.Response{StatusCode: status, Header: http.Header{"Content-Type": {mediaType}, "Retry-After": {body}, "Location": {body}},
				Body: io.NopCloser(strings.NewReader(body))}, nil
		})}
		c := wireClient("https://provider.example")
		c.Response.Root = root
		got, err := r.Do(t.Context(), refreshRequest(c))
		if err != nil {
			var e *oauthflow.TokenError // not by tokenError: any reply may have "canary" in it
			require.ErrorAs(t, err, &e)
			require.NotEmpty(t, e.Class)
			require.True(t, e.Sent)
			require.Equal(t, status, e.Status)
			require.False(t, strings.ContainsAny(e.Error(), "\r\n\x00\u202e"), "%q", e.Error())
			require.LessOrEqual(t, len(e.Error()), 4096)
			for _, inner := range chain(err) {
				require.NotContains(t, every(inner), canaryRefresh, "what was sent comes back and is shown")
				require.NotContains(t, every(inner), canarySecret)
			}
			require.GreaterOrEqual(t, e.RetryAfter, time.Duration(0))
			require.LessOrEqual(t, e.RetryAfter, 24*time.Hour)
			if got != nil {
				require.False(t, got.RefreshToken.IsZero())
				require.True(t, got.AccessToken.IsZero())
				require.Equal(t, oauthflow.ClassUnknown, e.Class)
			}
		} else {
			require.False(t, got.AccessToken.IsZero())
			require.NotEmpty(t, got.TokenType)
			require.Less(t, got.Lifetime.Abs(), 101*365*24*time.Hour)
		}
		if got != nil {
			require.NotContains(t, got.Extra, "refresh_token")
			require.False(t, strings.ContainsAny(got.AccessToken.Reveal()+got.RefreshToken.Reveal()+got.TokenType, "\r\n\x00"))
			_, err := json.Marshal(got.Extra)
			require.NoError(t, err)
		}
	})
}
