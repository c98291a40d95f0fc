package main

import (
	"fmt"
	"io"
)

// welcome says where to click, and how to do the same by hand.
func (s *settings) welcome(out io.Writer, stand *standIn) {
	key := "from BIFROST_KEY"
	if s.keys == "" {
		key = s.keyFile()
	}
	first, provider, connect, more, address := connectByClick, registerFirst, connectInBrowser, "", ""
	if stand != nil {
		provider, connect, more, address = stand.notice(), connectByHand, createByHand, stand.place.Address
	}
	if s.mints() {
		first, connect = mintsByItself, ""
		if stand == nil {
			provider = "Nobody connects an account: tokens are the application's own."
		}
	}
	_, _ = fmt.Fprintf(out, `Bifrost quickstart

`+first+`  2. Open %[1]s/workflows and press Execute on list_users. See users.
  3. Kill this program and start it again: it goes on where it was.

`+provider+`

Database:    %[3]s
Sealing key: %[4]s

The same by hand:

  app=%[1]s
`+connect+`  curl -s $app/api/integrations/%[2]s
  curl -s -X POST -H 'Content-Type: application/json' -d '{}' $app/api/workflows/list_users/execute
  curl -s "$app/api/integrations?org=%[5]s"
`+more+`
`, s.baseURL, integrationName, s.databaseName(), key, s.orgs[0], s.redirectURI(), address)
}

const (
	connectByClick = `  1. Open %[1]s/ and press Connect on %[2]s. Sign in, allow, and see Active.
`
	// With client credentials there is nothing to press.
	mintsByItself = `  1. Open %[1]s/: %[2]s gets its tokens by itself, when they are needed.
`
	registerFirst = "Register this redirect URI with the provider: %[6]s"
)

// With a provider whose sign-in nobody knows here, a browser has to do it.
const connectInBrowser = `  open $app/oauth/connect/%[2]s     # in a browser
`

// The stand-in's sign-in and consent are two plain forms.
const connectByHand = `  form() { grep -o 'name="request" value="[^"]*' | cut -d'"' -f4; }
  url=$(curl -s -c jar -X POST -H 'Accept: application/json' $app/oauth/connect/%[2]s | grep -o 'http://127[^"]*')
  at=${url%%%%/authorize*}
  form=$(curl -s "$url" | form)
  form=$(curl -s "$at/signin" -d username=alice -d password=any -d "request=$form" | form)
  curl -s -L -o /dev/null -b jar "$at/consent" -d decision=allow -d "request=$form"; rm jar
`

// Client credentials need nobody who signs in, so that it is short.
const createByHand = `
Another integration, made at run time, with a tenant of its own for an organization:

  curl -s -H 'Content-Type: application/json' $app/api/integrations -d '{
    "name": "Directory", "default_entity_id": "` + standInTenant + `",
    "api_hosts": ["%[7]s"], "test_url": "http://%[7]s/v1.0/users",
    "oauth": {"flow": "client_credentials", "client_id": "` + standInApp + `", "client_secret": "` + standInAppSecret + `",
      "token_url": "http://%[7]s/{entity_id}/oauth2/v2.0/token", "scopes": "` + applicationScopes + `"}}'
  curl -s -X PUT -H 'Content-Type: application/json' $app/api/integrations/Directory/mappings/%[5]s -d '{"entity_id": "initech"}'
  curl -s -X POST "$app/api/integrations/Directory/test?org=%[5]s"
  curl -s "$app/api/integrations/Directory?org=%[5]s"
`
