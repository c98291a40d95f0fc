package migration_test

import (
	"os"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"
)

// quote is a block of code in the document, and the file that it is from.
var quote = regexp.MustCompile("(?s)<!-- (\\S+) -->\n```go\n(.*?)```\n")

// What the document quotes stands in the files word by word.
func TestTheDocumentQuotesWhatCompiles(t *testing.T) {
	document, err := os.ReadFile("../../docs/migrating-from-x-oauth2.md")
	require.NoError(t, err)
	quotes := quote.FindAllStringSubmatch(string(document), -1)
	require.Len(t, quotes, len(regexp.MustCompile("```go").FindAllString(string(document), -1)), "each block says where it is from")
	for _, q := range quotes {
		source, err := os.ReadFile("../../" + q[1])
		require.NoError(t, err)
		require.Contains(t, string(source), q[2], q[1])
	}
}
