package sqlstore

import (
	"regexp"
	"strings"
)

// Dialect is how a database says what query texts leave open.
type Dialect struct {
	// Now is the store's clock in microseconds: {now}.
	Now string
	// Any is what follows an expression that must be one of a list, with $ for the
	// argument: {any $1}. See Engine.Any.
	Any string
	// By names the index to use, $ for its name: {by bifrost_…}.
	By string
	// Lock ends a query whose rows are to stay as they are: {lock}.
	Lock string
	// Skip is Lock, but passes rows over that others have locked: {skip}.
	Skip string
}

var words = regexp.MustCompile(`\{(now|any|by|lock|skip)( [^}]*)?\}`)

// Text returns query as the database takes it.
func (d Dialect) Text(query string) string {
	return words.ReplaceAllStringFunc(query, func(word string) string {
		name, of, _ := strings.Cut(strings.Trim(word, "{}"), " ")
		text := map[string]string{"now": d.Now, "any": d.Any, "by": d.By, "lock": d.Lock, "skip": d.Skip}[name]
		if of == "" {
			return text
		}
		return strings.Replace(text, "$", of, 1)
	})
}
