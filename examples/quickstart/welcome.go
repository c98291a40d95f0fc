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
	provider, connect := "Register this redirect URI with the provider: "+s.redirectURI(), connectInBrowser
	if stand != nil {
		provider, connect = stand.notice(), connectByHand
	}
	_, _ = fmt.Fprintf(out, `Bifrost quickstart

  1. Open %[1]s/ and press Connect on %[2]s. Sign in, allow, and see Active.
  2. Open %[1]s/workflows and press Execute on list_users. See users.
  3. Kill this program and start it again: the connection is still there.

%[3]s

Database:    %[4]s
Sealing key: %[5]s

The same by hand:

  app=%[1]s
`+connect+`  curl -s $app/api/integrations/%[2]s
  curl -s -X POST -H 'Content-Type: application/json' -d '{}' $app/api/workflows/list_users/execute
  curl -s "$app/api/integrations?org=%[6]s"

`, s.baseURL, integrationName, provider, s.database, key, s.orgs[0])
}

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
