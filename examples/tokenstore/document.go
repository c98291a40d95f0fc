package documentstore

import (
	"bytes"
	"context"
	"sync"
)

// Document is what the store needs of a storage.
type Document interface {
	// Read returns the document and its revision, which counts the writes: nothing
	// and 0 if there was none.
	Read(ctx context.Context) (text []byte, revision int64, err error)
	// Swap writes the document if its revision is still the given one, and reports
	// whether it did. It is on stable storage before Swap returns true. An error
	// means that nobody knows.
	Swap(ctx context.Context, revision int64, text []byte) (swapped bool, err error)
}

// Variable is a document in memory: it is where the call to your storage belongs.
type Variable struct {
	mu       sync.Mutex
	text     []byte
	revision int64
}

// Read implements Document.
func (v *Variable) Read(ctx context.Context) (text []byte, revision int64, err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return bytes.Clone(v.text), v.revision, ctx.Err()
}

// Swap implements Document.
func (v *Variable) Swap(ctx context.Context, revision int64, text []byte) (swapped bool, err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if err := ctx.Err(); err != nil || revision != v.revision {
		return false, err
	}
	v.text, v.revision = bytes.Clone(text), revision+1
	return true, nil
}
