package oauthflow

import (
	"net/http"
	"sync"
	"time"

	"github.com/bifrost-go/bifrost/tokenstore"
)

// burstAtOnce is how many connections that were removed together are revoked at once
// by the process that removed them.
const burstAtOnce = 4

// burst are connections that were removed together, each to be revoked once. What is
// left then, or not reached soon, is the background's.
type burst struct {
	mu      sync.Mutex
	waiting []revokeJob
	running int
}

type revokeJob struct {
	key tokenstore.Key
	via http.RoundTripper
	at  time.Time // since when it waits
}

// revokeAll begins to revoke what was removed, and does not wait.
func (m *Manager) revokeAll(list []revokeJob) {
	b := &m.burst
	b.mu.Lock()
	defer b.mu.Unlock()
	b.waiting = append(b.waiting, list...)
	for ; b.running < min(burstAtOnce, len(b.waiting)); b.running++ {
		m.within(m.revokeWaiting)
	}
}

// revokeWaiting revokes until nothing waits.
func (m *Manager) revokeWaiting() {
	for job, ok := m.burst.next(); ok; job, ok = m.burst.next() {
		late := m.walking.Load() && time.Since(job.at) > m.cfg.Timing.Attempt // it is due, and the background at it
		if !late && m.ctx.Err() == nil {
			m.revoke(job.key, job.via, false)
		}
	}
}

func (b *burst) next() (job revokeJob, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.waiting) == 0 {
		b.running--
		b.waiting = nil
		return revokeJob{}, false
	}
	job = b.waiting[0]
	b.waiting = b.waiting[1:]
	return job, true
}
