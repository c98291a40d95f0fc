package tokenstore

import "github.com/bifrost-go/bifrost/internal/texts"

// CheckTexts is for stores of your own: it returns the error with which a store
// refuses a write, if any text in values, be they strings, records, flows or events,
// has a NUL character or is not valid UTF-8; see [Store].
func CheckTexts(values ...any) error { return texts.Check(values...) }
