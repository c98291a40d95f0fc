package workflow

import "time"

// DefaultTimeout is how long an attempt may take unless [Timeout] says otherwise.
const DefaultTimeout = 5 * time.Minute

// Option changes how a workflow is registered.
type Option func(*definition)

// Description says what the workflow does, for people.
func Description(text string) Option {
	return func(d *definition) { d.description = text }
}

// Timeout is how long one attempt may take; then its context ends, and the
// execution is finished as timed out, even if the function ignores its context (it
// keeps its worker busy until it returns, though). Default [DefaultTimeout].
func Timeout(limit time.Duration) Option {
	return func(d *definition) { d.timeout = limit }
}

// AllowMembers lets members of an organization execute the workflow for it, where
// a host has roles. By default only administrators may.
func AllowMembers() Option {
	return func(d *definition) { d.allowMembers = true }
}

// CrossOrg lets runs for one organization use other organizations' connections
// and execute workflows for them. By default a run reaches its own organization
// and the global connections.
func CrossOrg() Option {
	return func(d *definition) { d.crossOrg = true }
}
