package oauthflow_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/oauthflow"
)

func TestClassification(t *testing.T) {
	const (
		dead          = oauthflow.ClassDead
		operator      = oauthflow.ClassOperator
		configuration = oauthflow.ClassConfiguration
		transient     = oauthflow.ClassTransient
		unclassified  = oauthflow.ClassUnclassified
		unknown       = oauthflow.ClassUnknown
	)
	type row struct {
		name   string
		status int
		body   string
		class  oauthflow.Class
		code   string
	}
	var tests []row
	// Every code, however it is wrapped.
	for code, class := range map[string]oauthflow.Class{
		"invalid_grant": dead, "bad_refresh_token": dead, "interaction_required": dead, "consent_required": dead,
		"login_required": dead, "token_expired": dead, "token_revoked": dead, "vendor_gone": dead,
		"invalid_client": operator, "unauthorized_client": operator, "incorrect_client_credentials": operator,
		"bad_client_secret": operator, "invalid_client_id": operator,
		"invalid_scope": configuration, "temporarily_unavailable": transient, "ratelimited": transient,
		"invalid_request": unclassified, "unsupported_grant_type": unclassified, "Invalid_Grant": unclassified, "x": unclassified,
	} {
		body := `{"error":"` + code + `"}`
		tests = append(tests,
			row{"400 " + code, 400, body, class, code},
			row{"401 " + code, 401, body, class, code},
			row{"200 " + code, 200, body, class, code},
			row{"Slack " + code, 200, `{"ok":false,"error":"` + code + `"}`, class, code},
			row{"form " + code, 400, "error=" + code + "&error_description=d", class, code},
			row{"GitHub " + code, 200, "error=" + code + "&error_uri=u", class, code},
			row{"429 " + code, 429, body, transient, code},
			row{"503 " + code, 503, body, transient, code})
		if class != unclassified {
			tests = append(tests, row{"500 " + code, 500, body, class, code})
		}
	}
	for _, status := range []int{500, 501, 502, 504, 520} {
		for _, body := range []string{"", "<html>Bad gateway", `{"message":"x"}`, `{"error":"server_error"}`,
			`{"timestamp":1,"status":500,"error":"Internal Server Error","path":"/token"}`} {
			tests = append(tests, row{http.StatusText(status) + " " + body, status, body, unknown, ""})
		}
	}
	for _, status := range []int{301, 302, 303, 307, 308} {
		tests = append(tests, row{http.StatusText(status), status, `{"error":"invalid_grant"}`, unknown, "invalid_grant"})
	}
	tests = append(tests, []row{
		{"empty 400", 400, "", unclassified, ""},
		{"HTML 400", 400, "<html>", unclassified, ""},
		{"400 without a code", 400, `{"message":"no"}`, unclassified, ""},
		{"empty 401", 401, "", unclassified, ""},
		{"empty 403", 403, "", unclassified, ""},
		{"404", 404, "not found", unclassified, ""},
		{"empty 429", 429, "", transient, ""},
		{"HTML 503", 503, "<html>", transient, ""},
		{"suberror", 400, `{"error":"invalid_request","suberror":"consent_required"}`, dead, "invalid_request"},
		{"vendor suberror", 400, `{"error":"invalid_request","suberror":"vendor_gone"}`, dead, "invalid_request"},
		{"error before suberror", 400, `{"error":"invalid_client","suberror":"token_expired"}`, operator, "invalid_client"},
		{"the description does not count", 400, `{"error":"x","error_description":"invalid_grant: AADSTS700082 token_expired","error_codes":[700082]}`, unclassified, "x"},
		{"error object", 400, `{"error":{"message":"m","type":"OAuthException","code":190}}`, unclassified, ""},
		{"error object in a 200", 200, `{"error":{"message":"m"}}`, unclassified, ""},
		{"error true in a 200", 200, `{"error":true}`, unclassified, ""},
		{"not ok without a code", 200, `{"ok":false}`, unclassified, ""},
		{"last error wins", 400, `{"error":"x","error":"invalid_grant"}`, dead, "invalid_grant"},
		{"case-folded error", 400, `{"Error":"invalid_grant"}`, unclassified, ""},
		{"error that is null", 200, `{"error":null}`, unknown, ""},
		{"error below root", 200, `{"data":{"error":"invalid_grant"}}`, dead, "invalid_grant"},
		{"error with a refresh token", 200, `{"error":"invalid_grant","data":{"refresh_token":"canary"}}`, unknown, ""},
		{"broken after the error", 400, `{"error":"invalid_grant","error_description":"cut o`, dead, "invalid_grant"},
		{"code outside RFC 6749", 400, `{"error":"invalid_grant\r\n\u202e"}`, unclassified, "invalid_grant"},
	}...)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bothWays(t, reply(tt.status, jsonType, tt.body), func(t *testing.T, r *oauthflow.Requester, c *oauthflow.Client) {
				c.DeadGrantErrors = []string{"vendor_gone"}
				c.Response.Root = "data"
				_, err := r.Do(t.Context(), refreshRequest(c))
				e := tokenError(t, err)
				assert.Equal(t, tt.class, e.Class, "%v", e)
				assert.True(t, e.Sent)
				assert.Equal(t, tt.status, e.Status)
				if tt.class != unknown {
					assert.Equal(t, tt.code, e.Code)
				}
			})
		})
	}
}

// What a provider says is shown as text of bounded length, and only that.
func TestProviderWordsAreCleaned(t *testing.T) {
	for name, tt := range map[string]struct{ in, want string }{
		"plain":         {"Token has been revoked.", "Token has been revoked."},
		"line breaks":   {"AADSTS1: a\r\nTrace ID: b\n\tc", "AADSTS1: a Trace ID: b c"},
		"right-to-left": {"a\u202eb\u2066c\ufeff\x00\x1b[31md", "abc[31md"},
		"markup stays":  {"<script>alert(1)</script>", "<script>alert(1)</script>"}, // escaped by whoever makes HTML of it
		"too long":      {strings.Repeat("ä", 1<<18), strings.Repeat("ä", 399) + "…"},
	} {
		t.Run(name, func(t *testing.T) {
			body, err := json.Marshal(map[string]string{"error": "x", "error_description": tt.in})
			require.NoError(t, err)
			bothWays(t, reply(400, jsonType, string(body)), func(t *testing.T, r *oauthflow.Requester, c *oauthflow.Client) {
				_, err := r.Do(t.Context(), refreshRequest(c))
				e := tokenError(t, err)
				assert.Equal(t, tt.want, e.Description)
				assert.NotContains(t, e.Error(), "\n")
			})
		})
	}
	t.Run("code", func(t *testing.T) {
		body := `{"error":"a\"\\\u00e9\u0000b` + strings.Repeat("c", 1000) + `","suberror":"<\ns>"}`
		bothWays(t, reply(400, jsonType, body), func(t *testing.T, r *oauthflow.Requester, c *oauthflow.Client) {
			_, err := r.Do(t.Context(), refreshRequest(c))
			e := tokenError(t, err)
			assert.Equal(t, "ab"+strings.Repeat("c", 61)+"…", e.Code)
			assert.Equal(t, "<s>", e.SubCode)
		})
	})
}

func TestErrorTexts(t *testing.T) {
	for want, tt := range map[string]struct {
		status          int
		mediaType, body string
	}{
		"oauthflow: the provider does not accept the grant, connect again: invalid_grant/bad_token: revoked (status 400)": {400, jsonType,
			`{"error":"invalid_grant","suberror":"bad_token","error_description":"revoked"}`},
		"oauthflow: the provider refuses the client, check ClientID, ClientSecret and ClientAuth: invalid_client (status 401)": {401, jsonType, `{"error":"invalid_client"}`},
		"oauthflow: the provider refuses what was asked for, check Scopes: invalid_scope: read is unknown (status 400)": {400, jsonType,
			`{"error":"invalid_scope","error_description":"read is unknown"}`},
		"oauthflow: the provider cannot answer now, try again later: the reply is empty (status 503)":                                       {503, jsonType, ""},
		"oauthflow: the provider refused the request: the reply is no OAuth error, it has media type text/html (status 404)":                {404, "text/html", "<html>"},
		"oauthflow: the provider refused the request: the reply has no error code (status 400)":                                             {400, jsonType, "{}"},
		"oauthflow: the outcome of the request is unknown: the reply is no token reply, it has media type text/html (status 200)":           {200, "text/html", "<html>"},
		"oauthflow: the outcome of the request is unknown: the endpoint redirects, which is never followed: set the final URL (status 302)": {302, "text/html", "<html>"},
	} {
		t.Run(want, func(t *testing.T) {
			bothWays(t, reply(tt.status, tt.mediaType, tt.body), func(t *testing.T, r *oauthflow.Requester, c *oauthflow.Client) {
				_, err := r.Do(t.Context(), refreshRequest(c))
				assert.EqualError(t, err, want)
			})
		})
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for name, tt := range map[string]struct {
		value, date string
		want        time.Duration
	}{
		"absent":                   {"", "", 0},
		"seconds":                  {"7", "", 7 * time.Second},
		"seconds with space":       {" 120 ", "", 2 * time.Minute},
		"zero":                     {"0", "", 0},
		"capped":                   {"86401", "", 24 * time.Hour},
		"overflow":                 {strings.Repeat("9", 400), "", 24 * time.Hour},
		"negative":                 {"-5", "", 0},
		"fraction":                 {"1.5", "", 0},
		"garbage":                  {"soon", "", 0},
		"date, provider's clock":   {now.Add(90 * time.Second).Format(http.TimeFormat), now.Format(http.TimeFormat), 90 * time.Second},
		"date, past":               {now.Add(-time.Hour).Format(http.TimeFormat), now.Format(http.TimeFormat), 0},
		"date, capped":             {now.Add(25 * time.Hour).Format(http.TimeFormat), now.Format(http.TimeFormat), 24 * time.Hour},
		"date in RFC 850's format": {now.Add(time.Minute).Format("Monday, 02-Jan-06 15:04:05 GMT"), now.Format(http.TimeFormat), time.Minute},
		"date, our clock":          {time.Now().Add(48 * time.Hour).UTC().Format(http.TimeFormat), "none", 24 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			h := func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Retry-After", tt.value)
				if tt.date != "" {
					w.Header().Set("Date", tt.date)
				}
				w.WriteHeader(429)
			}
			bothWays(t, h, func(t *testing.T, r *oauthflow.Requester, c *oauthflow.Client) {
				_, err := r.Do(t.Context(), refreshRequest(c))
				assert.Equal(t, tt.want, tokenError(t, err).RetryAfter)
			})
		})
	}
}
