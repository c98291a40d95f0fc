package sqlstore

import (
	"fmt"
	"strings"

	"github.com/bifrost-go/bifrost/tokenstore"
)

// conditions builds a query whose conditions depend on what is asked for. A
// condition that is always there but sometimes without effect would cost the
// index.
type conditions struct {
	text string
	args []any
}

// add appends text, in which each ? stands for the next value.
func (q *conditions) add(text string, values ...any) {
	for _, v := range values {
		q.args = append(q.args, v)
		text = strings.Replace(text, "?", fmt.Sprintf("$%d", len(q.args)), 1)
	}
	q.text += text
}

func (q *conditions) match(m tokenstore.Match) {
	if m.Definition != "" {
		q.add(` AND definition = ?`, m.Definition)
	}
	if m.Org != nil {
		q.add(` AND org = ?`, *m.Org)
	}
}
