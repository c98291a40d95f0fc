package integrations

import (
	"cmp"
	"maps"
	"slices"

	"github.com/bifrost-go/bifrost/internal/scope"
)

// definitions is an immutable set; changing it means replacing it.
type definitions struct {
	version uint64                 // of this process; rises with every set
	code    map[string]*definition // by id
	stored  map[string]*definition // by id, shadowed ones included
	byName  map[defName]*definition
}

type defName struct{ org, name string }

func (d *definition) owned() defName { return defName{d.Org, d.Name} }

// newDefinitions says what each name means: what code defines goes before what
// is stored, because a deploy must be able to rely on what it brings.
func newDefinitions(version uint64, code, stored map[string]*definition) *definitions {
	s := &definitions{version: version, code: code, stored: stored, byName: make(map[defName]*definition, len(code)+len(stored))}
	for _, d := range stored {
		s.byName[d.owned()] = d
	}
	for _, d := range code {
		s.byName[d.owned()] = d
	}
	return s
}

// withStored returns the set with other stored definitions.
func (s *definitions) withStored(stored map[string]*definition) *definitions {
	return newDefinitions(s.version+1, s.code, stored)
}

// withCode returns the set with one more definition from code.
func (s *definitions) withCode(d *definition) *definitions {
	code := maps.Clone(s.code)
	if code == nil {
		code = map[string]*definition{}
	}
	code[d.id] = d
	return newDefinitions(s.version+1, code, s.stored)
}

// byID returns the definition with an id, from wherever it is, or nil.
func (s *definitions) byID(id string) *definition {
	if d := s.code[id]; d != nil {
		return d
	}
	return s.stored[id]
}

// named returns what name means in a scope: the organization's own definition,
// else the global one; nil if there is neither.
func (s *definitions) named(name string, in scope.Scope) *definition {
	if in.Kind == scope.Org {
		if d := s.byName[defName{in.Org, name}]; d != nil {
			return d
		}
	}
	return s.byName[defName{"", name}]
}

// shadowed reports whether code defines d's name, so that nobody gets d.
func (s *definitions) shadowed(d *definition) bool { return s.byName[d.owned()] != d }

// visible returns the definitions that a scope sees, by name: in the global scope
// all of them, organizations' own and shadowed ones included.
func (s *definitions) visible(in scope.Scope) []*definition {
	var list []*definition
	for _, all := range []map[string]*definition{s.code, s.stored} {
		for _, d := range all {
			if in.Kind == scope.Global || s.named(d.Name, in) == d {
				list = append(list, d)
			}
		}
	}
	slices.SortFunc(list, func(a, b *definition) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Org, b.Org), cmp.Compare(a.id, b.id))
	})
	return list
}
