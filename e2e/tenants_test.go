package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/oauthtest"
)

// tenants are the organizations of these tests, and the tenant that each is mapped
// to: never the one of its own name, nor the definition's default.
var tenants = map[string]string{"north": "initech", "east": "globex", "south": "acme"}

// Three organizations share a definition with {entity_id} in its URLs, and each
// gets tokens of its own tenant: whether people connect or the client signs in.
func TestTenants(t *testing.T) {
	t.Parallel()
	for flow, more := range map[string]object{
		"authorization_code": {"scopes": "openid offline_access Directory.Read.All"},
		"client_credentials": {"scopes": "https://graph.microsoft.com/.default"},
	} {
		t.Run(flow, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
			defer cancel()
			s := newSite(t)
			api := newAPI(t)
			s.env = []string{"ORGS=north,east,south,west", "EGRESS=" + api.host()}
			c := newClient(s.start(t, s.addr()))
			api.users = "http://" + s.standIn(t) + "/v1.0/users"

			var directory struct {
				Items []struct {
					ID string `json:"id"`
				} `json:"items"`
			}
			_, err := c.call(ctx, http.MethodGet, "/api/orgs?q=st", nil, &directory)
			require.NoError(t, err)
			require.Len(t, directory.Items, 2, "east and west")

			more["flow"] = flow
			_, err = c.create(ctx, standInDefinition(s.standIn(t), api, more))
			require.NoError(t, err)
			for org, tenant := range tenants {
				require.NoError(t, c.mapTo(ctx, created, org, tenant))
			}
			var list struct {
				Items []struct {
					Org        string `json:"org"`
					EntityID   string `json:"entity_id"`
					EntityName string `json:"entity_name"`
				} `json:"items"`
			}
			_, err = c.call(ctx, http.MethodGet, path(created, "/mappings"), nil, &list)
			require.NoError(t, err)
			require.Len(t, list.Items, len(tenants))
			for _, m := range list.Items {
				require.Equal(t, tenants[m.Org], m.EntityID)
				require.Equal(t, "Tenant of "+m.Org, m.EntityName)
			}

			for org := range tenants {
				if flow == "authorization_code" {
					require.NoError(t, c.another().connect(ctx, created+"?org="+org))
				}
			}
			for range 2 { // the first tokens and renewed ones
				for org, tenant := range tenants {
					require.Equal(t, tenant+".example", api.tenantOf(ctx, t, c, created+"?org="+org), org)
					st, err := c.refresh(ctx, created+"?org="+org)
					require.NoError(t, err)
					require.Equal(t, "active", st.Status)
					require.Equal(t, "own", st.Connection)
					require.Equal(t, tenant, st.EntityID)
				}
			}

			// Another tenant answers as soon as an organization is mapped to it, or nobody.
			require.NoError(t, c.mapTo(ctx, created, "north", "globex"))
			_, err = c.test(ctx, created+"?org=north")
			if flow == "client_credentials" {
				require.NoError(t, err)
				require.Equal(t, "globex.example", api.tenantOf(ctx, t, c, created+"?org=north"))
				return
			}
			require.Equal(t, http.StatusConflict, statusOf(err), err)
			st, err := c.disconnect(ctx, created+"?org=north")
			require.NoError(t, err)
			require.Equal(t, "failed", st.Revocation, "the old tenant's token is nothing to the new one")
			require.NoError(t, c.another().connect(ctx, created+"?org=north"))
			require.Equal(t, "globex.example", api.tenantOf(ctx, t, c, created+"?org=north"))
		})
	}
}

// 100 executions that come at once, before there is any token, make one request
// for it: for each organization its own, from its own tenant.
func TestManyExecutionsMintOnce(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	stand, urls := newOAuthTest(t, oauthtest.Config{Tenants: append(oauthtest.DefaultTenants(), oauthtest.Tenant{
		ID: "initech", Users: []oauthtest.User{{Username: "lars"}},
	})})
	s := newSite(t,
		"OAUTH_FLOW=client_credentials", "OAUTH_CLIENT_ID="+oauthtest.DefaultClient().ID, "OAUTH_CLIENT_SECRET="+oauthtest.DefaultClient().Secret,
		"OAUTH_TOKEN_URL="+urls.TokenURL, "API_URL="+urls.UsersURL, "OAUTH_ENTITY_ID=none", "ORGS=north,east,south")
	c := newClient(s.start(t, s.addr()))
	for org, tenant := range tenants {
		require.NoError(t, c.mapTo(ctx, integration, org, tenant))
	}
	orgs := []string{"north", "east", "south"}
	errs := parallel(100*len(orgs), func(i int) error {
		org := orgs[i%len(orgs)]
		e := new(execution)
		_, err := c.call(ctx, http.MethodPost, "/api/workflows/"+workflow+"/execute?org="+org, object{}, e)
		if err == nil { // on a slow disk some are still under way when their callers have waited long enough
			err = poll(ctx, time.Second, func() (done bool, err error) {
				if !e.ended() {
					e, err = c.execution(ctx, e.ID)
				}
				return e.ended(), err
			})
		}
		if err == nil && (e.Status != "succeeded" || !strings.Contains(string(e.Result), "@"+tenants[org]+".example")) {
			err = fmt.Errorf("%s: %s: %s", org, e, e.Result)
		}
		return err
	})
	require.Empty(t, errs)
	require.Equal(t, map[string]int{"client_credentials": len(orgs)}, stand.Counts().Requests)
}

// newOAuthTest serves a provider like the stand-in in the test's own process,
// where its journal can be read.
func newOAuthTest(t *testing.T, config oauthtest.Config) (*oauthtest.Provider, oauthtest.Endpoints) {
	t.Helper()
	p, err := oauthtest.New(config)
	require.NoError(t, err)
	server := httptest.NewServer(p)
	t.Cleanup(server.Close)
	return p, oauthtest.At(server.URL)
}

// standInDefinition is what to send to POST /api/integrations for the stand-in at
// an address, with the test's own API behind it.
func standInDefinition(standIn string, api *api, oauth object) object {
	urls := oauthtest.At("http://" + standIn)
	all := object{
		"client_id": "my-app", "client_secret": "not-a-secret", "token_url": urls.TokenURL, "revocation_url": urls.RevocationURL,
	}
	if oauth["flow"] != "client_credentials" {
		all["authorization_url"] = urls.AuthorizationURL
	}
	for name, value := range oauth {
		all[name] = value
	}
	return object{
		"name": created, "default_entity_id": "common",
		"api_hosts": []string{api.host()}, "test_url": api.server.URL + "/whoami", "oauth": all,
	}
}

// api is an API of the test's own. It asks the stand-in whose a token is.
type api struct {
	server *httptest.Server
	users  string // the URL that knows
	domain chan string
}

func newAPI(t *testing.T) *api {
	t.Helper()
	a := &api{domain: make(chan string, 1)}
	a.server = httptest.NewServer(http.HandlerFunc(a.serve))
	t.Cleanup(a.server.Close)
	return a
}

func (a *api) host() string { return strings.TrimPrefix(a.server.URL, "http://") }

// serve answers as the stand-in does, and tells the domain of the users it has.
func (a *api) serve(w http.ResponseWriter, r *http.Request) {
	req, err := http.NewRequestWithContext(r.Context(), http.MethodGet, a.users, nil)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	req.Header.Set("Authorization", r.Header.Get("Authorization"))
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer res.Body.Close()
	var page struct {
		Value []struct {
			Name string `json:"userPrincipalName"`
		} `json:"value"`
	}
	domain := res.Status
	if json.NewDecoder(res.Body).Decode(&page) == nil && len(page.Value) > 0 {
		_, domain, _ = strings.Cut(page.Value[0].Name, "@")
	}
	select {
	case <-a.domain: // of a request that nobody asked about
	default:
	}
	a.domain <- domain
	w.WriteHeader(res.StatusCode)
}

// tenantOf is the domain of the users that the connection's token shows.
func (a *api) tenantOf(ctx context.Context, t *testing.T, c *client, what string) string {
	t.Helper()
	select {
	case <-a.domain:
	default:
	}
	r, err := c.test(ctx, what)
	require.NoError(t, err)
	require.True(t, r.OK, r)
	select {
	case domain := <-a.domain:
		return domain
	case <-ctx.Done():
		require.FailNow(t, "nothing arrived at the API")
		return ""
	}
}
