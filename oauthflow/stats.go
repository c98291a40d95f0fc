package oauthflow

import "sync/atomic"

// Stats count what a manager has done since it was made, for metrics.
type Stats struct {
	Requests      int64 // requests to providers that were sent or tried, of any kind
	Failed        int64 // of them, those that did not bring what was asked for
	Visits        int64 // connections the background has looked at because they were due
	Passes        int64 // how often it asked the store what is due
	OpenBreakers  int   // endpoints that are left alone at the moment
	DroppedEvents int64 // events that Config.Events was too slow for
	Revoked       int64 // removed grants that a provider has revoked
	NotRevoked    int64 // removed grants that it was given up to revoke
}

// counters are what Stats is made of.
type counters struct {
	requests, failed, visits, passes, dropped, revoked, notRevoked atomic.Int64
}

// Stats returns the counts so far.
func (m *Manager) Stats() Stats {
	c := &m.counters
	return Stats{
		Requests: c.requests.Load(), Failed: c.failed.Load(), Visits: c.visits.Load(), Passes: c.passes.Load(),
		OpenBreakers: m.breakers.open(), DroppedEvents: c.dropped.Load(),
		Revoked: c.revoked.Load(), NotRevoked: c.notRevoked.Load(),
	}
}
