package texts_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/bifrost-go/bifrost/internal/texts"
)

func TestCheck(t *testing.T) {
	type part struct{ Name string }
	type whole struct {
		part
		List   []string
		Parts  []part
		Other  *part
		Doc    json.RawMessage
		Sealed []byte
		At     time.Time
	}
	for _, text := range []string{"", "a", "é", "\ufffd", "\u202e", "\x01\x7f", "😀"} {
		assert.True(t, texts.Valid(text), "%q", text)
	}
	assert.NoError(t, texts.Check())
	assert.NoError(t, texts.Check(nil, 1, &whole{
		part: part{"a"}, List: []string{""}, Parts: []part{{"b"}}, Other: &part{"c"},
		Doc: json.RawMessage(`"\u0000"`), Sealed: []byte{0, 0xff}, At: time.Now(),
	}))
	for _, text := range []string{"\x00", "a\x00", "\xff", "\xc3\x28", "\xed\xa0\x80"} {
		assert.False(t, texts.Valid(text), "%q", text)
		for _, v := range []any{
			text, []string{"a", text}, part{text}, &part{text}, whole{part: part{text}}, whole{List: []string{text}},
			whole{Parts: []part{{text}}}, &whole{Other: &part{text}}, whole{Doc: json.RawMessage(`"` + text + `"`)},
		} {
			assert.ErrorIs(t, texts.Check(1, v), texts.ErrInvalid, "%q", text)
		}
	}
}
