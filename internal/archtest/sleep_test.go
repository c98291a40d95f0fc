package archtest_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// A test that sleeps is slow on a fast machine and wrong on a slow one. In a
// testing/synctest bubble sleeping costs nothing and is exact.
func TestOnlyBubblesSleep(t *testing.T) {
	root := os.DirFS("../..")
	err := fs.WalkDir(root, ".", func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && (entry.Name() == "node_modules" || (strings.HasPrefix(entry.Name(), ".") && path != ".")):
			return fs.SkipDir
		case !strings.HasSuffix(path, "_test.go"):
			return nil
		}
		source, err := fs.ReadFile(root, path)
		if err != nil {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), filepath.Base(path), source, 0)
		if err != nil {
			return err
		}
		bubble := false
		for _, imported := range file.Imports {
			bubble = bubble || imported.Path.Value == `"testing/synctest"`
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if call, ok := n.(*ast.SelectorExpr); ok && call.Sel.Name == "Sleep" && !bubble {
				if of, ok := call.X.(*ast.Ident); ok && of.Name == "time" {
					t.Errorf("%s sleeps outside of a testing/synctest bubble: wait for the thing itself", path)
				}
			}
			return true
		})
		return nil
	})
	require.NoError(t, err)
}
