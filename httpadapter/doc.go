// Package httpadapter is the room between Bifrost and net/http: connecting, the
// callback, a JSON API, and a few pages without script. Nothing is decided here
// but who may ask; everything else translates.
//
//	mux.Handle("/", httpadapter.New(bf, httpadapter.Config{Principal: whoIsThis}))
//
// [Config].Principal says who a request is; until it is set, every management
// route answers 401. A [Member] sees and changes what belongs to their
// organization, an [Admin] everything: the global connections, or those of the
// organization that ?org= names. ?user= and ?account= choose a personal connection
// within it; a member can name nobody but himself, as ?user=me.
//
// Definitions, mappings and configuration are an Admin's alone: they say where
// tokens and secrets go, and whose data a token reaches.
//
// # Mounting
//
// Mount the [Handler] whole at BaseURL's path, with or without http.StripPrefix:
// BaseURL's path is taken off where it is present. (With a BaseURL whose path
// begins with /api, /oauth or another path of Bifrost's own, do not use
// StripPrefix.) Where the host's own pages are at "/", mount [Handler.API] at
// "/api/" and "/oauth/", which leaves the pages out. Or mount routes one by one,
// under any router: [Handler.Connect], [Handler.Callback] and the others are
// http.Handlers that read their parameter with Config.PathValue. Each has all
// checks built in.
//
// [Handler.Middleware] makes integrations.Get work in the host's own handlers.
//
// # What is checked
//
// Every change must come from BaseURL's origin (http.CrossOriginProtection); on a
// loopback BaseURL, or with Config.CheckHost, the Host header must be BaseURL's.
// Redirects after a connect follow an allow rule (returnto.go). Every answer has a
// Content-Security-Policy without inline script or style.
//
// Start reading at [New], then handler.go's run: the way of every request.
package httpadapter
