package oauthflow

import (
	"math"

	"github.com/bifrost-go/bifrost/tokenstore"
)

// fairQueue hands out connections to renew, fairly: each token endpoint has a line
// of its own, and the line with the fewest under way is next. No host ever has all
// workers, so that one which answers slowly leaves room for the others. It is not
// safe for concurrent use.
type fairQueue struct {
	workers int
	lines   map[breakerKey]*line
	hosts   map[string]int // under way, by host
	waiting int
	working int
	served  int64
}

// line are the connections of one endpoint.
type line struct {
	key     breakerKey
	host    string
	waiting []tokenstore.Key
	working int
	last    int64 // when it was served last
}

func newFairQueue(workers int) *fairQueue {
	return &fairQueue{workers: workers, lines: map[breakerKey]*line{}, hosts: map[string]int{}}
}

// most is how many workers one host may have.
func (q *fairQueue) most() int { return q.workers - min(q.workers-1, max(1, q.workers/8)) }

// add puts a connection at the end of an endpoint's line.
func (q *fairQueue) add(endpoint breakerKey, host string, connection tokenstore.Key) {
	l := q.lines[endpoint]
	if l == nil {
		l = &line{key: endpoint, host: host}
		q.lines[endpoint] = l
	}
	l.waiting = append(l.waiting, connection)
	q.waiting++
}

// length returns how many wait for an endpoint.
func (q *fairQueue) length(endpoint breakerKey) int {
	if l := q.lines[endpoint]; l != nil {
		return len(l.waiting)
	}
	return 0
}

// next hands out a connection; nil: there is none, or no worker for it. Each is to
// be followed by one done.
func (q *fairQueue) next() (*line, tokenstore.Key) {
	if q.waiting == 0 || q.working >= q.workers {
		return nil, tokenstore.Key{}
	}
	var best *line
	fewest, longest := math.MaxInt, int64(math.MaxInt64)
	for _, l := range q.lines {
		if len(l.waiting) == 0 || q.hosts[l.host] >= q.most() {
			continue
		}
		if l.working < fewest || l.working == fewest && l.last < longest {
			best, fewest, longest = l, l.working, l.last
		}
	}
	if best == nil {
		return nil, tokenstore.Key{}
	}
	connection := best.waiting[0]
	best.waiting = best.waiting[1:]
	q.waiting--
	q.served++
	best.last = q.served
	best.working++
	q.working++
	q.hosts[best.host]++
	return best, connection
}

// done takes a worker back.
func (q *fairQueue) done(l *line) {
	l.working--
	q.working--
	if q.hosts[l.host]--; q.hosts[l.host] == 0 {
		delete(q.hosts, l.host)
	}
	if l.working == 0 && len(l.waiting) == 0 {
		delete(q.lines, l.key)
	}
}
