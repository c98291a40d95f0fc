package integrations_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"

	"github.com/bifrost-go/bifrost/integrations"
	"github.com/bifrost-go/bifrost/tokenstore"
)

func TestImport(t *testing.T) {
	w := newWorld(t)
	require.NoError(t, w.Define(definition("Graph")))
	acme := integrations.Org("acme")
	w.mapTo(t, "Graph", "acme", "tenant-a")
	old := (&oauth2.Token{AccessToken: "old-at", RefreshToken: "old-rt", Expiry: time.Now().Add(time.Hour)}).
		WithExtra(map[string]any{"id_token": "e30.eyJvaWQiOiJvLTEiLCJwcmVmZXJyZWRfdXNlcm5hbWUiOiJhbGljZSJ9."})
	st, err := w.Import(t.Context(), "Graph", old, integrations.ImportOptions{
		Actor: "root", Scopes: []string{"offline_access"}, Extra: map[string]any{"instance_url": "https://na1.example.com"},
	}, acme)
	require.NoError(t, err)
	require.Equal(t, tokenstore.Active, st.Status)
	require.Equal(t, "tenant-a", st.EntityID)
	require.Equal(t, "o-1", st.AccountID)
	require.Equal(t, "alice", st.AccountName)
	require.Equal(t, "root", st.ConnectedBy)
	in, err := w.Registry.Get(t.Context(), "Graph", acme)
	require.NoError(t, err)
	require.Equal(t, "old-at", in.OAuth().AccessToken())
	instance, ok := in.OAuth().Extra("instance_url")
	require.True(t, ok)
	require.Equal(t, "https://na1.example.com", instance)

	// The loop over the table can be run again: what has been renewed since stays.
	w.idp.refresh["old-rt"] = "acme"
	_, err = w.Refresh(t.Context(), "Graph", acme)
	require.NoError(t, err)
	_, err = w.Import(t.Context(), "Graph", old, integrations.ImportOptions{Actor: "root"}, acme)
	require.ErrorIs(t, err, integrations.ErrExists)
	in, err = w.Registry.Get(t.Context(), "Graph", acme)
	require.NoError(t, err)
	require.Equal(t, "at-login.example.com-tenant-a-acme-1", in.OAuth().AccessToken())
	_, err = w.Import(t.Context(), "Graph", old, integrations.ImportOptions{Actor: "root", Replace: true}, acme)
	require.NoError(t, err)
}

func TestImportRefusals(t *testing.T) {
	w := newWorld(t)
	require.NoError(t, w.Define(definition("Graph")))
	require.NoError(t, w.Define(credentials("App")))
	for name, token := range map[string]*oauth2.Token{
		"none": nil, "empty": {}, "expired without a refresh token": {AccessToken: "a", Expiry: time.Now().Add(-time.Hour)},
		"control characters": {AccessToken: "a\nb", RefreshToken: "r"},
	} {
		_, err := w.Import(t.Context(), "Graph", token, integrations.ImportOptions{}, integrations.Org("acme"))
		require.ErrorIs(t, err, integrations.ErrInvalid, name)
		require.NotContains(t, err.Error(), "a\nb")
	}
	_, err := w.Import(t.Context(), "App", &oauth2.Token{AccessToken: "a"}, integrations.ImportOptions{}, integrations.Org("acme"))
	require.ErrorIs(t, err, integrations.ErrNotInteractive)
	_, err = w.Import(t.Context(), "Graph", &oauth2.Token{AccessToken: "a"}, integrations.ImportOptions{})
	require.ErrorIs(t, err, integrations.ErrNoOrg)
}

// Exported tokens are what is stored; afterwards one side lets go.
func TestExportAndForget(t *testing.T) {
	w := newWorld(t)
	require.NoError(t, w.Define(definition("Graph")))
	acme := integrations.Org("acme")
	_, err := w.Export(t.Context(), "Graph", "root", acme)
	require.ErrorIs(t, err, integrations.ErrNotConnected)
	w.connect(t, "Graph", "acme", acme)
	w.connect(t, "Graph", "shared", integrations.Global())
	token, err := w.Export(t.Context(), "Graph", "root", acme)
	require.NoError(t, err)
	require.Equal(t, "at-login.example.com-common-acme-1", token.AccessToken)
	require.Equal(t, "rt-acme-1", token.RefreshToken)
	require.Equal(t, "https://na1.example.com", token.Extra("instance_url"))
	require.WithinDuration(t, time.Now().Add(time.Hour), token.Expiry, time.Minute)
	_, err = w.Export(t.Context(), "Graph", "root", integrations.Org("globex"))
	require.ErrorIs(t, err, integrations.ErrNotConnected, "the fallback is nobody's to export")

	require.NoError(t, w.Forget(t.Context(), "Graph", "root", acme))
	require.Equal(t, 2, w.idp.count(), "nothing was revoked")
	events, err := w.Events(t.Context(), "Graph", 0, 2, acme)
	require.NoError(t, err)
	require.Equal(t, "disconnected", events[0].Kind)
	require.Equal(t, "forgotten", events[0].Reason)
	require.Equal(t, "exported", events[1].Kind)
	require.ErrorIs(t, w.Forget(t.Context(), "Graph", "root", acme), integrations.ErrNotOwn)
}

// Everything of one organization goes, and nothing of another.
func TestDeleteOrg(t *testing.T) {
	w := newWorld(t)
	d := configured("Graph")
	d.Config[2].Required = false
	require.NoError(t, w.Define(d))
	w.create(t, owned("Mine", "acme"))
	theirs := w.create(t, owned("Mine", "globex"))
	for _, org := range []string{"acme", "globex"} {
		o := integrations.Org(org)
		_, err := w.SetConfig(t.Context(), "Graph", map[string]any{"api_key": "key of " + org}, "root", o)
		require.NoError(t, err)
		w.mapTo(t, "Graph", org, "tenant-"+org)
		w.connect(t, "Graph", org, o)
		w.connect(t, "Graph", org+"-alice", o, integrations.User("alice"))
		w.connect(t, "Mine", org, o)
		_, err = w.Connect(t.Context(), "Graph", integrations.ConnectOptions{Principal: "bob"}, o, integrations.Account("open"))
		require.NoError(t, err)
	}
	removal, err := w.DeleteOrg(t.Context(), "acme", "root", nil)
	require.NoError(t, err)
	require.Equal(t, integrations.Removal{Definitions: 1, Connections: 3, Unsupported: 3}, removal)

	acme := "acme"
	conns, err := w.store.List(t.Context(), tokenstore.Match{Org: &acme}, nil, 10)
	require.NoError(t, err)
	for _, c := range conns {
		require.False(t, c.Connected())
		require.Nil(t, c.Sealed)
		require.Empty(t, c.ConnectedBy+c.AccountID+c.EntityID)
	}
	events, err := w.store.Events(t.Context(), tokenstore.Match{Org: &acme}, 0, 10)
	require.NoError(t, err)
	require.Empty(t, events)
	open, err := w.store.HasFlow(t.Context(), tokenstore.Key{Definition: d.ID(), Org: "acme", Account: "open"})
	require.NoError(t, err)
	require.False(t, open)
	settings, err := w.definitions.Settings(t.Context(), d.ID(), "acme")
	require.NoError(t, err)
	require.True(t, settings.Empty())

	for _, name := range []string{"Graph", "Mine"} {
		_, err = w.Registry.Get(t.Context(), name, integrations.Org("globex"))
		require.NoError(t, err, name)
	}
	st, err := w.Status(t.Context(), "Mine", integrations.Org("globex"))
	require.NoError(t, err)
	require.Equal(t, theirs.ID, st.ID)
	_, err = w.Registry.Get(t.Context(), "Mine", integrations.Org("acme"))
	require.ErrorIs(t, err, integrations.ErrNotFound)
	w.connect(t, "Graph", "again", integrations.Org("acme")) // it may come back
	removal, err = w.DeleteOrg(t.Context(), "acme", "root", nil)
	require.NoError(t, err)
	require.Equal(t, 1, removal.Connections)
	for _, org := range []string{"", "..", "a b"} {
		_, err = w.DeleteOrg(t.Context(), org, "root", nil)
		require.ErrorIs(t, err, integrations.ErrNoOrg, org)
	}
}
