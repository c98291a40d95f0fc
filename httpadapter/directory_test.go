package httpadapter_test

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/httpadapter"
)

// downable is a directory that can be away.
type downable struct {
	httpadapter.OrgList
	down bool
}

var errDirectory = errors.New("canary: ldap://10.0.0.3 is down")

func (d *downable) Lookup(ctx context.Context, id string) (httpadapter.Org, bool, error) {
	if d.down {
		return httpadapter.Org{}, false, errDirectory
	}
	return d.OrgList.Lookup(ctx, id)
}

func (d *downable) Search(ctx context.Context, query, cursor string, limit int) ([]httpadapter.Org, string, error) {
	if d.down {
		return nil, "", errDirectory
	}
	return d.OrgList.Search(ctx, query, cursor, limit)
}

func TestOrgs(t *testing.T) {
	directory := &downable{OrgList: httpadapter.OrgList{
		{ID: "acme", Name: "Acme Corporation"}, {ID: "a/b", Name: "No address can hold it"}, {ID: "globex", Name: "Globex"}, {ID: "initech"},
	}}
	s := newSite(t, func(c *siteConfig) { c.adapter.Orgs = directory })
	find := func(query string) (ids []string, next string) {
		w := s.as(root).get("/api/orgs" + query)
		require.Equal(t, http.StatusOK, w.Code, w.Body)
		page := object(t, w)
		for _, item := range page["items"].([]any) {
			require.Equal(t, []string{"id", "name"}, keys(item.(map[string]any)))
			ids = append(ids, item.(map[string]any)["id"].(string))
		}
		return ids, page["next_cursor"].(string)
	}
	for query, want := range map[string][]string{
		"":             {"acme", "globex", "initech"},
		"?q=":          {"acme", "globex", "initech"},
		"?q=GLO":       {"globex"},
		"?q=corp":      {"acme"},
		"?q=%25":       nil,
		"?id=globex":   {"globex"},
		"?id=Globex":   nil,
		"?id=nope":     nil,
		"?id=a%2Fb":    nil,
		"?id=":         nil,
		"?id=%00":      nil,
		"?limit=5000":  {"acme", "globex", "initech"},
		"?org=globex":  {"acme", "globex", "initech"},
		"?cursor=1000": nil,
	} {
		got, next := find(query)
		require.Equal(t, want, got, query)
		require.Empty(t, next, query)
	}
	first, next := find("?limit=1&q=i")
	require.Equal(t, []string{"acme"}, first)
	second, _ := find("?limit=1&q=i&cursor=" + next)
	require.Empty(t, second, "an id that no address can hold is left out")

	for query, status := range map[string]int{
		"?q=a&q=b": 400, "?id=a&id=b": 400, "?limit=0": 422, "?cursor=x": 422, "?cursor=-1": 422, "?q=%00": 422, "?q=%ff": 422,
		"?q=" + strings.Repeat("a", 257): 422,
	} {
		w := s.as(root).get("/api/orgs" + query)
		require.Equal(t, status, w.Code, query)
	}
	directory.down = true
	for _, query := range []string{"", "?id=acme"} {
		w := s.as(root).get("/api/orgs" + query)
		require.Equal(t, http.StatusServiceUnavailable, w.Code)
		require.NotContains(t, w.Body.String(), "canary")
		require.Contains(t, s.log.String(), "ldap")
	}
	require.JSONEq(t, `{"items": [], "next_cursor": ""}`, newSite(t).as(root).get("/api/orgs?q="+url.QueryEscape("a")).Body.String(),
		"without a directory there is nothing to find")
}
