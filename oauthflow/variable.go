package oauthflow

import (
	"net/url"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// VariableKind says where a template variable may stand, and so which
// characters its value may have.
type VariableKind string

// The kinds of template variables.
const (
	// Label is one DNS label before a fixed suffix: https://{shop}.example.com.
	Label VariableKind = "label"
	// Segment is (part of) one path segment: [A-Za-z0-9._~-], not "." or "..".
	Segment VariableKind = "segment"
	// Value stands in a query or body value and is percent-encoded.
	Value VariableKind = "value"
	// Host is a whole host name, without port: https://{instance}/oauth/token. It
	// needs an allow-list, see [Variable].
	Host VariableKind = "host"
)

// Variable declares a template variable.
type Variable struct {
	Kind VariableKind
	// Hosts are the names that a variable of kind Host may have: "api.example.com",
	// or "*.example.com" for every name below it. Case does not matter.
	Hosts []string
	// AnyHost lets it be any public host name instead: two labels or more, no
	// address in any spelling, no name that only means something inside a network
	// (localhost, .internal). Whoever sets the value decides then where the client
	// secret goes.
	AnyHost bool
}

// Lengths beyond which a value is refused: a DNS label's, and what any real
// tenant id or parameter stays far below.
const (
	maxLabel   = 63
	maxSegment = 255
	maxValue   = 2048
)

// fill returns the text that stands for variable p in the finished URL.
func fill(p part, variables map[string]Variable, values map[string]string) (string, error) {
	name := p.text
	refuse := func(text string) (string, error) {
		return "", &TemplateError{Variable: name, Problem: text}
	}
	v, declared := variables[name]
	kind := v.Kind
	switch {
	case !declared && name == entityVariable:
		kind = [...]VariableKind{inHost: Label, inPath: Segment, inQuery: Value}[p.place]
	case !declared:
		return refuse("contains {" + name + "}, which is not declared: the variables are " + declaredNames(variables) + "; correct the name, or declare it in Provider.Variables")
	case !mayStand(kind, p.place):
		return refuse("has {" + name + "} in its " + [...]string{inHost: "host", inPath: "path", inQuery: "query"}[p.place] +
			", where a variable of kind " + string(kind) + " may not stand")
	}
	value := values[name]
	if value == "" {
		text := "contains {" + name + "}, but it has no value: set the config value " + name
		if name == entityVariable {
			text = "contains {entity_id}, but there is no entity id: set Definition.DefaultEntityID"
		}
		return "", &TemplateError{Variable: name, Missing: true, Problem: text}
	}
	// The narrower of what the kind allows and what the place needs: a label in a
	// path is still a label.
	switch kind {
	case Label:
		if !validLabel(value) {
			return refuse("cannot take this value of " + name + ": it must be one DNS label (letters, digits and inner hyphens, at most 63)")
		}
		return strings.ToLower(value), nil
	case Segment:
		if !validSegment(value) {
			return refuse("cannot take this value of " + name + ": it may have letters, digits and . _ ~ - only, and not be . or ..")
		}
		return value, nil
	case Host:
		if !hostName(value) || !v.allows(strings.ToLower(value)) {
			return refuse("cannot take this value of " + name + ": it must be a host name without a port, and " + v.allowed())
		}
		return strings.ToLower(value), nil
	default:
		if !validValue(value) {
			return refuse("cannot take this value of " + name + ": it has control characters, is not UTF-8 or is longer than 2048 bytes")
		}
		return url.QueryEscape(value), nil
	}
}

func mayStand(kind VariableKind, where place) bool {
	switch kind {
	case Label:
		return true
	case Segment:
		return where != inHost
	case Value:
		return where == inQuery
	case Host:
		return where == inHost
	}
	return false
}

func validLabel(s string) bool {
	return s != "" && len(s) <= maxLabel && only(s, "-") && s[0] != '-' && s[len(s)-1] != '-'
}

func validSegment(s string) bool {
	return s != "" && len(s) <= maxSegment && only(s, "._~-") && s != "." && s != ".."
}

func validValue(s string) bool {
	return s != "" && len(s) <= maxValue && utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
}

// validName reports whether s can be a variable's name.
func validName(s string) bool { return s != "" && len(s) <= maxLabel && only(s, "_") }

// only reports whether s has ASCII letters, digits and the bytes of others only.
func only(s, others string) bool {
	for _, c := range []byte(s) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', strings.IndexByte(others, c) >= 0:
		default:
			return false
		}
	}
	return true
}

// inQueryValue reports whether what follows head in a URL is a parameter's value.
func inQueryValue(head string) bool {
	param := head[strings.LastIndexAny(head, "?&")+1:]
	return strings.Contains(param, "=")
}

// declaredNames lists the variables for a message.
func declaredNames(variables map[string]Variable) string {
	names := []string{entityVariable}
	for name := range variables {
		if name != entityVariable {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}
