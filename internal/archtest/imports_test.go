package archtest_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const module = "github.com/bifrost-go/bifrost"

// room is one folder of the module with everything below it.
type room struct {
	// path is below the module; empty is the module's own package alone.
	path string
	// sees lists the other rooms its packages may depend on, internal/ apart.
	sees []string
	// needs lists the only modules outside this one it may depend on.
	needs []string
}

// SQLite is a large thing to link in: a host that brings its own store must not.
var sqliteModules = []string{
	"modernc.org/", "github.com/dustin/go-humanize", "github.com/google/uuid", "github.com/mattn/go-isatty",
	"github.com/ncruces/go-strftime", "github.com/remyoudompheng/bigfft", "golang.org/x/sys",
}

// PostgreSQL's driver and what it needs.
var postgresModules = []string{"github.com/jackc/", "golang.org/x/text/"}

// The first room that holds a package is its own.
var rooms = []room{
	{path: "internal/sqlstore", sees: []string{"workflow", "integrations", "oauthflow", "tokenstore"}, needs: []string{"github.com/google/uuid", "github.com/google/jsonschema-go", "golang.org/x/oauth2", "golang.org/x/sync"}},
	{path: "internal/pgtest", needs: postgresModules},
	{path: "internal", needs: []string{"golang.org/x/"}},
	{path: "tokenstore", needs: []string{"github.com/google/uuid"}},
	{path: "oauthflow", sees: []string{"tokenstore"}, needs: []string{"github.com/google/uuid", "golang.org/x/oauth2", "golang.org/x/sync"}},
	{path: "integrations", sees: []string{"oauthflow", "tokenstore"}, needs: []string{"github.com/google/uuid", "golang.org/x/oauth2", "golang.org/x/sync"}},
	{path: "workflow", needs: []string{"github.com/google/uuid", "github.com/google/jsonschema-go", "golang.org/x/sync"}},
	{path: "", sees: []string{"workflow", "integrations", "oauthflow", "tokenstore"}, needs: []string{"github.com/google/uuid", "github.com/google/jsonschema-go", "golang.org/x/oauth2", "golang.org/x/sync"}},
	{path: "httpadapter", sees: []string{"", "workflow", "integrations", "oauthflow", "tokenstore"}, needs: []string{"github.com/google/uuid", "github.com/google/jsonschema-go", "golang.org/x/oauth2", "golang.org/x/sync"}},
	{path: "sqlite", sees: []string{"workflow", "integrations", "oauthflow", "tokenstore"}, needs: append([]string{"github.com/google/jsonschema-go", "golang.org/x/oauth2", "golang.org/x/sync"}, sqliteModules...)},
	{path: "postgres", sees: []string{"workflow", "integrations", "oauthflow", "tokenstore"}, needs: append([]string{"github.com/google/uuid", "github.com/google/jsonschema-go", "golang.org/x/oauth2", "golang.org/x/sync"}, postgresModules...)},
	{path: "oauthtest", needs: []string{"github.com/google/uuid"}},
}

// storetest packages are for tests, ours and our users', and may use a test library.
var testLibraries = []string{"github.com/stretchr/testify", "github.com/davecgh/", "github.com/pmezard/", "gopkg.in/yaml.v3", "go.yaml.in/", "go.uber.org/goleak"}

type listedPackage struct {
	ImportPath string
	Deps       []string
	Standard   bool
}

func TestRoomsImportDownwardsOnly(t *testing.T) {
	packages := list(t)
	byPath := map[string]listedPackage{}
	for _, p := range packages {
		byPath[p.ImportPath] = p
	}

	seen := map[string]int{}
	for _, p := range packages {
		at := slices.IndexFunc(rooms, func(r room) bool { return r.holds(p.ImportPath) })
		if at < 0 {
			require.True(t, outside(p.ImportPath), "%s belongs to no room: add the room to this table", p.ImportPath)
			continue
		}
		r := rooms[at]
		seen[r.path]++
		for _, dep := range p.Deps {
			if byPath[dep].Standard || strings.HasPrefix(dep, "vendor/") {
				continue
			}
			if !r.maySee(p.ImportPath, dep) {
				t.Errorf("%s depends on %s, which its room must not", p.ImportPath, dep)
			}
		}
	}
	for _, r := range rooms {
		require.NotZero(t, seen[r.path], "no package found in room %q", r.path)
	}
}

func (r room) holds(pkg string) bool {
	if r.path == "" {
		return pkg == module
	}
	return pkg == module+"/"+r.path || strings.HasPrefix(pkg, module+"/"+r.path+"/")
}

func (r room) maySee(pkg, dep string) bool {
	if !strings.HasPrefix(dep+"/", module+"/") {
		allowed := r.needs
		if strings.HasSuffix(pkg, "/storetest") {
			allowed = append(slices.Clone(allowed), testLibraries...)
		}
		return slices.ContainsFunc(allowed, func(m string) bool { return strings.HasPrefix(dep, m) })
	}
	if r.holds(dep) || strings.HasPrefix(dep, module+"/internal/") {
		return true
	}
	return slices.ContainsFunc(r.sees, func(path string) bool { return room{path: path}.holds(dep) })
}

// outside reports whether a package stands around the rooms, not in one.
func outside(pkg string) bool {
	return !strings.HasPrefix(pkg+"/", module+"/") || strings.HasPrefix(pkg, module+"/examples/")
}

// list returns the module's packages and all they depend on, tests apart.
func list(t *testing.T) []listedPackage {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-deps", "-json=ImportPath,Deps,Standard", "./...")
	cmd.Dir = "../.."
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoError(t, err, stderr.String())

	var packages []listedPackage
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listedPackage
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return packages
		} else {
			require.NoError(t, err)
		}
		packages = append(packages, p)
	}
}
